"""LPIPS and DISTS through torchmetrics; the classifiers' weights are random here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml

from basicsr_mambair import classifiers
from basicsr_mambair.classifiers import PerceptualUnavailableError
from basicsr_mambair.metrics import calculate_dists, calculate_lpips, perceptual
from basicsr_mambair.options import OptionError, load_options
from tests.conftest import photograph, tiny_network

pytest.importorskip("torchmetrics", reason="LPIPS and DISTS need the extra 'perceptual'")


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where torchvision looks for weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    perceptual._lpips.cache_clear()
    perceptual._dists.cache_clear()
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    assert str(folder).startswith(str(tmp_path))
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def lpips(checkpoints: Path) -> None:
    torch.manual_seed(0)
    weights = torchvision.models.alexnet(weights=None).state_dict()
    torch.save(weights, checkpoints / "alexnet-owt-7be5be79.pth")


@pytest.fixture
def dists(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchmetrics.functional.image.dists as of_torchmetrics

    (checkpoints / "vgg16-397923af.pth").touch()  # the real file has 528 MB
    torch.manual_seed(0)
    monkeypatch.setattr(
        of_torchmetrics, "vgg16", lambda weights: torchvision.models.vgg16(weights=None)
    )


def noisy(sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, (96, 128, 3))
    return np.clip(photograph() + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("metric", [calculate_lpips, calculate_dists])
def test_grows_with_the_noise(metric: object, lpips: None, dists: None) -> None:
    truth = photograph()
    values = [metric(noisy(sigma), truth, crop_border=2) for sigma in (0, 10, 40)]
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert values[0] < values[1] < values[2]
    assert metric(noisy(10), truth, crop_border=2) == pytest.approx(
        values[1], rel=0.1
    )  # keeps no state (with random weights, values are hardly more than rounding)


def test_colors_borders_and_order(lpips: None) -> None:
    truth, image = photograph(), noisy(20)
    value = calculate_lpips(image, truth, crop_border=0)
    assert calculate_lpips(
        image.transpose(2, 0, 1), truth.transpose(2, 0, 1), 0, input_order="CHW"
    ) == pytest.approx(value)
    assert calculate_lpips(image[..., ::-1], truth[..., ::-1], 0) != pytest.approx(value)
    assert calculate_lpips(image, truth, 8) == pytest.approx(
        calculate_lpips(image[8:-8, 8:-8], truth[8:-8, 8:-8], 0)
    )
    gray = calculate_lpips(image[..., 0], truth[..., 0], 0)
    three = [np.repeat(each[..., :1], 3, axis=2) for each in (image, truth)]
    assert gray == pytest.approx(calculate_lpips(*three, 0))


def test_missing_weights_are_named() -> None:
    with pytest.raises(
        PerceptualUnavailableError, match=r"LPIPS needs .*alexnet-owt-7be5be79.pth.*htt"
    ):
        calculate_lpips(photograph(), photograph(), 0)
    with pytest.raises(PerceptualUnavailableError, match=r"DISTS needs .*vgg16-397923af.pth"):
        calculate_dists(photograph(), photograph(), 0)
    with pytest.raises(ValueError, match="net must be one of"):
        calculate_lpips(photograph(), photograph(), 0, net="alexnet")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.setattr(classifiers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PerceptualUnavailableError, match=r"pip install .*perceptual"):
        calculate_lpips(photograph(), photograph(), 0)


def test_an_option_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "HR").mkdir()
    contents = {
        "name": "run", "model_type": "MambaIRv2Model", "scale": 2, "network_g": tiny_network(),
        "datasets": {"test": {"type": "DegradedImageDataset", "dataroot_gt": str(tmp_path / "HR")}},
        "val": {"metrics": {"lpips": {"type": "calculate_lpips", "crop_border": 2}}},
    }  # fmt: skip
    path = tmp_path / "run.yml"
    path.write_text(yaml.safe_dump(contents))
    with pytest.raises(OptionError, match=r"val.metrics.lpips: LPIPS needs"):
        load_options(path, is_train=False)
    load_options(path, is_train=False, check_files=False)
