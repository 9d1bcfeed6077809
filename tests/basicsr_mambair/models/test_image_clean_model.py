"""``ImageCleanModel``: the keys of Restormer's option files are those of this project."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset

from basicsr_mambair.models.augmentation import BatchAugmentation
from tests.basicsr_mambair.models.test_restoration_model import batch, model
from tests.conftest import photograph


@pytest.mark.parametrize(
    ("mixing", "mixup"),
    [
        ({"mixup": True, "mixup_beta": 1.2, "use_identity": True}, {}),
        ({"mixup_beta": 3.0, "use_identity": False}, {"probability": 1, "beta": 3.0}),
        ({"mixup": False}, None),
    ],
)
def test_mixing_augs_is_mixup(mixing: dict, mixup: dict | None) -> None:
    lq, gt = batch()["lq"], batch()["gt"]
    for iteration in range(10):
        expected = BatchAugmentation({"mixup": mixup})(lq, gt, iteration)
        found = BatchAugmentation({"mixing_augs": mixing})(lq, gt, iteration)
        assert all(map(torch.equal, expected, found))


def test_use_grad_clip_is_a_norm_of_a_hundredth() -> None:
    trained = model(train={"use_grad_clip": True, "ema_decay": 0})
    trained.feed_data(batch())
    trained.optimize_parameters(1)
    gradients = [each.grad for each in trained.net_g.parameters() if each.grad is not None]
    assert trained.log_dict["grad_norm"] > 0.01
    assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(0.01, rel=1e-4)


@pytest.fixture
def loader(tmp_path: Path) -> Any:
    """A noisy photograph of odd sides, and the photograph."""
    clean = photograph(height=45, width=51)
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    for name, picture in (("gt", clean), ("lq", np.clip(clean + noise, 0, 255).astype("uint8"))):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), picture)
    section = {"type": "Dataset_PairedImage", "name": "val", "phase": "val", "scale": 1,
               "dataroot_gt": f"{tmp_path}/gt", "dataroot_lq": f"{tmp_path}/lq"}  # fmt: skip
    return torch.utils.data.DataLoader(build_dataset(section))


class _Doubling(torch.nn.Module):
    """Restores nothing; leaves the range, takes sides that are multiples of 8 alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert all(side % 8 == 0 for side in x.shape[-2:])
        return 1.3 * x + 0.0003


METRICS = {"psnr": {"type": "calculate_psnr", "crop_border": 0}}


@pytest.mark.parametrize("use_image", [True, False])
def test_figures_of_floats(use_image: bool, loader: Any) -> None:
    """The result is clipped; it is rounded only where 8 bits are measured."""
    tested = model(is_train=False, val={"use_image": use_image, "window_size": 8,
                                        "metrics": METRICS, "suffix": None})  # fmt: skip
    tested.scale, tested.net_g = 1, _Doubling()
    tested.validation(loader, "x", None)
    (sample,) = loader
    result = ((1.3 * sample["lq"] + 0.0003).clamp(0, 1) * 255).double()
    if use_image:
        result = result.round()
    error = float((result - sample["gt"].double() * 255).square().mean())
    assert tested.metric_results["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-5)
    assert tested.opt["val"]["metrics"] == METRICS


def test_best_figures_are_kept(loader: Any) -> None:
    trained = model(val={"use_image": False, "metrics": METRICS, "tile": "none"})
    trained.scale, trained.net_g_ema = 1, torch.nn.Identity()
    trained.validation(loader, 5, None)
    assert trained.best_metric_results["val"]["psnr"]["iter"] == 5
    assert trained.best_metric_results["val"]["psnr"]["val"] == trained.metric_results["psnr"] > 20


def test_the_baseline_is_measured_as_the_result(loader: Any) -> None:
    trained = model(val={"use_image": False, "metrics": METRICS, "tile": "none",
                         "baseline": "bicubic"})  # fmt: skip
    trained.scale, trained.net_g_ema = 1, torch.nn.Identity()
    trained.validation(loader, 5, None)
    assert trained._baselines["val"]["psnr"] == pytest.approx(trained.metric_results["psnr"])


def test_window_size_pads() -> None:
    """A picture gets multiples of ``val.window_size``, whatever the network says it needs."""
    tested = model(is_train=False, val={"window_size": 8, "metrics": None, "suffix": None})
    assert tested._sizes[0] == 8
    assert model(is_train=False)._sizes[0] == 1


@pytest.mark.parametrize("augments", [True, False])
def test_geometric_augs(augments: bool, pairs: Path) -> None:
    section = {"type": "Dataset_PairedImage", "name": "x", "phase": "train", "scale": 1,
               "geometric_augs": augments, "dataroot_gt": str(pairs / "HR"),
               "dataroot_lq": str(pairs / "HR"), "gt_size": 96}  # fmt: skip
    dataset = build_dataset(section)
    picture = torch.from_numpy(cv2.imread(dataset.pairs[0].gt)[..., ::-1] / np.float32(255))
    crops = [dataset[0]["gt"] for _ in range(12)]
    windows = picture.permute(2, 0, 1).unfold(2, 96, 1)  # (C, H, places, W): the height is 96
    upright = [bool((windows == crop[:, :, None]).all(-1).all(1).all(0).any()) for crop in crops]
    assert all(upright) is not augments
