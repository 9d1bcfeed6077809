"""``basicsr preview``: the samples that a run trains on, for every kind of dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from basicsr_mambair.data import DegradedImageDataset
from basicsr_mambair.preview.samples import PreviewError, preview_samples
from basicsr_mambair.preview.sheet import contact_sheet, describe
from tests.conftest import ROOT, photograph, run_basicsr, tiny_network

CASE = ROOT / "tests" / "data" / "cases" / "realesrnet_otf.yml"


def option_file(folder: Path, train: dict[str, Any], **top: Any) -> str:
    options = {
        "name": "shown",
        "model_type": "RestorationModel",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 3,
        "datasets": {
            "train": {"name": "many", "batch_size_per_gpu": 2, "num_worker_per_gpu": 0, **train},
            "val": {"name": "few", "type": "SingleImageDataset", "dataroot_lq": str(folder / "LR")},
        },
        "network_g": tiny_network(),
        "path": {"pretrain_network_g": "is_not_there.pth"},
        "train": {
            "total_iter": 10,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
        "logger": {"print_freq": 1},
        **top,
    }
    path = folder / "shown.yml"
    path.write_text(yaml.safe_dump(options))
    return str(path)


def degraded(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "type": "DegradedImageDataset",
        "dataroot_gt": str(folder / "HR"),
        "degradation": {"type": "phone"},
        "gt_size": 48,
        **changes,
    }


def test_the_command_writes_a_sheet_and_the_draws(pairs: Path) -> None:
    path = option_file(pairs, degraded(pairs))
    done = run_basicsr("preview", "-opt", path, "-n", 3, "-o", "sheet.png", cwd=pairs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "sheet.png: 3 samples of train; draws in sheet.json"
    sheet = cv2.imread(str(pairs / "sheet.png"))
    assert sheet is not None and sheet.std() > 20
    record = json.loads((pairs / "sheet.json").read_text())
    assert record["dataset"] == "train" and record["seed"] == 3
    # The draws give the samples again.
    section = {**degraded(pairs), "phase": "train", "scale": 2}
    dataset = DegradedImageDataset(section)
    names = [each.name for each in dataset.paths]
    shown = preview_samples(path, True, count=3).samples
    for entry, sample in zip(record["samples"], shown, strict=True):
        again = dataset.replay(names.index(entry["name"]), json.dumps(entry["drawn"]))
        assert entry["drawn"] == sample.drawn
        lq = again["lq"]
        assert isinstance(lq, torch.Tensor)
        pixels = (lq * 255).round().byte().numpy().transpose(1, 2, 0)[..., ::-1]
        np.testing.assert_array_equal(pixels, sample.lq)


def test_several_options_are_changed_as_in_training(pairs: Path) -> None:
    path = option_file(pairs, degraded(pairs))
    command = ("preview", "-opt", path, "-n", 1)
    one = run_basicsr(*command, "--force_yml", "manual_seed=9", "-o", "one.png", cwd=pairs)
    assert one.returncode == 0, one.stderr
    for flag in ("--force_yml", "--force-yml"):
        changes = (flag, "datasets:train:gt_size=16", "manual_seed=9")
        done = run_basicsr(*command, *changes, cwd=pairs)
        assert done.returncode == 0, done.stderr
        assert json.loads((pairs / "preview.json").read_text())["seed"] == 9
        assert (pairs / "preview.png").read_bytes() != (pairs / "one.png").read_bytes()
        (pairs / "preview.json").unlink()
    done = run_basicsr("preview", "-opt", path, "manual_seed=9", cwd=pairs)
    assert done.returncode == 2
    assert "to change an option: --force_yml manual_seed=9" in done.stderr


def test_the_seed_decides(pairs: Path) -> None:
    path = option_file(pairs, degraded(pairs))
    own, given, other = (
        preview_samples(path, True, count=2, seed=seed).samples for seed in (None, 3, 4)
    )
    np.testing.assert_array_equal(own[0].lq, given[0].lq)
    assert own[0].drawn != other[0].drawn


def test_pairs_and_pictures_without_truth(pairs: Path) -> None:
    paired = {
        "type": "PairedImageDataset",
        "dataroot_gt": str(pairs / "HR"),
        "dataroot_lq": str(pairs / "LR"),
        "filename_tmpl": "{}x2",
        "io_backend": {"type": "disk"},
        "gt_size": 32,
    }
    path = option_file(pairs, paired)
    shown = preview_samples(path, True, count=5)
    assert len(shown.samples) == 5, "an epoch may be shorter"
    for sample in shown.samples:
        assert sample.gt is not None and sample.gt.shape == (32, 32, 3)
        assert sample.lq.shape == (16, 16, 3) and sample.drawn is None
    validation = preview_samples(path, True, dataset="few").samples
    assert len(validation) == 3 and validation[0].gt is None
    for samples in (shown.samples, validation):
        sheet = contact_sheet(samples, "title")
        assert sheet.dtype == np.uint8 and sheet.ndim == 3


@pytest.mark.parametrize("own", [True, False])
def test_models_that_degrade_show_it_themselves(pairs: Path, own: bool) -> None:
    options = yaml.safe_load(CASE.read_text())
    names = sorted(path.name for path in (pairs / "HR").iterdir())
    (pairs / "meta.txt").write_text("".join(f"{name} (96,128,3)\n" for name in names))
    suffix = "" if own else "_basicsr"
    options["model_type"] = f"RealESRNetModel{suffix}"
    options["datasets"]["train"].update(
        type=f"RealESRGANDataset{suffix}",
        dataroot_gt=str(pairs / "HR"),
        meta_info=str(pairs / "meta.txt"),
        num_worker_per_gpu=0,
    )
    options["datasets"].pop("val", None)
    path = pairs / "real.yml"
    path.write_text(yaml.safe_dump(options))
    samples = preview_samples(str(path), True, count=3).samples
    side = options["gt_size"]
    for sample in samples:
        assert sample.gt is not None and sample.gt.shape == (side, side, 3)
        assert sample.lq.shape == (side // options["scale"],) * 2 + (3,)
        assert (sample.drawn is not None) == own
    assert contact_sheet(samples, "title").size
    assert not (pairs / "experiments").exists()


def test_what_cannot_be_shown_is_named(pairs: Path, tmp_path: Path) -> None:
    path = option_file(pairs, degraded(pairs))
    with pytest.raises(PreviewError, match=r"no dataset 'all'; it has train \(many\), val \(few\)"):
        preview_samples(path, True, dataset="all")
    done = run_basicsr("preview", "-opt", path, "-o", "sheet.json", cwd=pairs)
    assert done.returncode == 2 and "must be the name of a picture" in done.stderr
    missing = option_file(pairs, degraded(pairs, dataroot_gt=str(tmp_path / "gone")))
    done = run_basicsr("preview", "-opt", missing, cwd=pairs)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "datasets.train" in done.stderr and "gone" in done.stderr


def test_draws_in_words() -> None:
    drawn = {
        "window": [1, 2, 3],
        "degradation": {
            "parts": [
                {"type": "isotropic_blur", "size": 7, "sigma": 1.23456},
                {"type": "sometimes", "applied": None},
                {"type": "gaussian_noise", "sigma": 3.0, "gray": True, "noise": {"state": 1}},
            ]
        },
    }
    text = "isotropic_blur size 7 sigma 1.23 · sometimes left out · gaussian_noise sigma 3 gray yes"
    assert describe(drawn) == text


def test_a_large_picture_shows_its_detail(pairs: Path) -> None:
    large = np.full((600, 800, 3), 128, np.uint8)
    large[400:496, 600:728] = photograph()
    cv2.imwrite(str(pairs / "HR" / "astronaut.png"), large)
    path = Path(option_file(pairs, degraded(pairs)))
    options = yaml.safe_load(path.read_text())
    options["datasets"]["val"] = {**degraded(pairs), "name": "few"}
    path.write_text(yaml.safe_dump(options))
    samples = preview_samples(str(path), True, dataset="val", count=1).samples
    sheet = contact_sheet(samples, "title")
    assert sheet.shape[1] < 800
    assert sheet[40:200, 20:200].std() > 10
