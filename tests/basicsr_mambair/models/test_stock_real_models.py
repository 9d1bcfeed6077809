"""BasicSR's own Real-ESRGAN models on a CPU, with batches from BasicSR's own dataset."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model
from basicsr.utils import DiffJPEG, USMSharp

from tests.conftest import ROOT, photograph

CASE = ROOT / "tests" / "data" / "cases" / "realesrnet_otf.yml"


@pytest.mark.parametrize("model_type", ["RealESRNetModel", "RealESRGANModel"])
def test_real_batches_train(model_type: str, tmp_path: Path) -> None:
    options = _options(model_type, tmp_path)
    loader = build_dataloader(
        build_dataset(options["datasets"]["train"]), options["datasets"]["train"], num_gpu=0
    )
    torch.manual_seed(0)
    model = build_model(options)
    iteration = 0
    for _ in range(3):
        for data in loader:
            iteration += 1
            model.feed_data(data)
            model.optimize_parameters(iteration)
            assert model.lq.device.type == "cpu"
            assert all(map(math.isfinite, model.log_dict.values())), model.log_dict
    assert iteration == 6
    assert model.queue_lr.abs().sum() > 0  # the pool was filled


@pytest.mark.parametrize("helper", [lambda: DiffJPEG(differentiable=False), USMSharp])
def test_cuda_of_helpers_is_pytorchs(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(helper()).cuda is torch.nn.Module.cuda
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor, *_: tensor.to("meta"))
    moved = helper().cuda()
    assert {each.device.type for each in [*moved.parameters(), *moved.buffers()]} == {"meta"}


def _options(model_type: str, folder: Path) -> dict[str, Any]:
    names = ["a.png", "b.png", "c.png", "d.png"]
    for name, source in zip(names, ("coffee", "chelsea", "astronaut", "coffee"), strict=True):
        assert cv2.imwrite(str(folder / name), photograph(source))
    (folder / "meta.txt").write_text("".join(f"{name} (96,128,3)\n" for name in names))
    options: dict[str, Any] = yaml.safe_load(CASE.read_text(encoding="utf-8"))
    options.update(model_type=f"{model_type}_basicsr", is_train=True, dist=False)
    options["queue_size"] = 4
    section = options["datasets"]["train"]
    section.update(dataroot_gt=str(folder), meta_info=str(folder / "meta.txt"), phase="train")
    if model_type == "RealESRGANModel":
        options.update(l1_gt_usm=True, percep_gt_usm=True, gan_gt_usm=False)
        options["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
        options["train"]["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla"}
        options["train"]["optim_d"] = {"type": "Adam", "lr": 1e-4}
    return options
