"""Files of classifiers with random weights, where torchvision would keep the real ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

_alexnet, _vgg16 = torchvision.models.alexnet, torchvision.models.vgg16


def narrow_alexnet(weights: object = None) -> nn.Module:
    """AlexNet's convolutions with random weights; the rest, 200 MB, is not needed."""
    return copy.deepcopy(_random(_alexnet))


def narrow_vgg16(weights: object = None) -> nn.Module:
    """VGG16's convolutions with random weights."""
    return copy.deepcopy(_random(_vgg16))


@cache
def _random(build: Callable[..., nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    with torch.device("meta"):
        net = build(weights=None)
    net.classifier = nn.Identity()
    net = net.to_empty(device="cpu")
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
    return net


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where torchvision looks for weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def classifiers(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights instead of the user's files, which have 10 to 500 MB."""
    of_dists = pytest.importorskip("torchmetrics.functional.image.dists")
    monkeypatch.setattr(of_dists, "vgg16", narrow_vgg16)
    monkeypatch.setattr(torchvision.models, "alexnet", narrow_alexnet)
    for name in ("alexnet-owt-7be5be79.pth", "vgg16-397923af.pth"):
        (checkpoints / name).touch()


@pytest.fixture
def vgg_file(tmp_path: Path) -> Path:
    """The first four convolutions of VGG, random, as a file of torchvision has them."""
    generator = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128)}
    state = {}
    for index, (out, inner) in shapes.items():
        deviation = (2 / (9 * inner)) ** 0.5
        weight = torch.randn(out, inner, 3, 3, generator=generator) * deviation
        state[f"features.{index}.weight"] = weight
        state[f"features.{index}.bias"] = torch.randn(out, generator=generator) * 0.1
    path = tmp_path / "vgg19.pth"
    torch.save(state, path)
    return path
