"""Agreement with pip's ``realesrgan`` 0.3.0, where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import basicsr_mambair  # noqa: F401  (repairs BasicSR, which realesrgan imports)
from mambair.archs.registry import build_network
from mambair.checkpoint import save_checkpoint
from realesrgan_compat import RealESRGANer
from tests.conftest import photograph, tiny_network
from tests.realesrgan_compat.test_upsampler import FOREIGN

realesrgan = pytest.importorskip("realesrgan")

SECTIONS = [*FOREIGN, tiny_network(), tiny_network(upscale=4)]


def saved(section: dict, path: Path, seed: int = 0, key: str = "params") -> str:
    """A weights file of a network with some contrast in its output."""
    torch.manual_seed(seed)
    save_checkpoint({key: build_network(section).state_dict()}, path)
    return str(path)


def pictures() -> list[np.ndarray]:
    color = photograph(height=23, width=34)
    alpha = photograph("chelsea", 23, 34)[..., :1]
    deep = color.astype(np.uint16) * 257
    return [color, color[..., 0], np.dstack([color, alpha]), deep]


@pytest.mark.parametrize("tile", [0, 20])  # a side that every network takes
@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: each["type"])
def test_enhance_returns_the_same_pixels(tmp_path: Path, section: dict, tile: int) -> None:
    path = saved(section, tmp_path / "net.pth")
    scale = section.get("upscale", section.get("scale"))
    arguments = {"tile": tile, "tile_pad": 4, "pre_pad": 6, "device": torch.device("cpu")}
    theirs = realesrgan.RealESRGANer(scale, path, model=build_network(section), **arguments)
    ours = RealESRGANer(scale, path, **arguments)
    for picture in pictures():
        for how in ("realesrgan", "bicubic") if picture.shape[2:] == (4,) else ("realesrgan",):
            expected, mode = theirs.enhance(picture, 1.7, how)
            actual, found = ours.enhance(picture, 1.7, how)
            assert (actual.shape, actual.dtype, found) == (expected.shape, expected.dtype, mode)
            largest = np.abs(actual.astype(int) - expected.astype(int)).max()
            assert largest <= (257 if actual.dtype == np.uint16 else 1)


def test_mixed_weights_are_the_same(tmp_path: Path) -> None:
    section = FOREIGN[-1]
    paths = [saved(section, tmp_path / f"{seed}.pth", seed) for seed in (1, 2)]
    shares = [0.3, 0.7]
    device = torch.device("cpu")
    theirs = realesrgan.RealESRGANer(4, paths, shares, build_network(section), device=device)
    ours = RealESRGANer(4, paths, shares, device=device)
    for name, value in theirs.model.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], value)
