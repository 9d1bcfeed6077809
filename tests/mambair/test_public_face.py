"""Three lines of Python: load a model, give it a picture of any kind, get the same kind back."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mambair
from mambair.checkpoint import CheckpointError
from mambair.imaging.errors import PictureError
from mambair.inference import Restorer
from mambair.inference.device import pick_device
from tests.conftest import photograph

RGB = np.ascontiguousarray(photograph(height=18, width=26)[..., ::-1])
PUBLIC = (
    "mambair", "mambair.archs.contract", "mambair.archs.registry", "mambair.complexity",
    "mambair.imaging.targets", "mambair.inference.device", "mambair.inference.loading",
    "mambair.inference.restorer", "mambair.inference.weights",
)  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_of_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed


_LIGHT = """
import os, sys
before = dict(os.environ), list(sys.path), list(sys.meta_path), list(sys.path_hooks)
import mambair
assert not {"torch", "numpy", "cv2", "PIL", "basicsr", "basicsr_mambair"} & set(sys.modules)
assert "tiny_x2" in mambair.list_models()
import mambair.inference.tiles
assert "torch" not in sys.modules
model = mambair.load("tiny_x2")
import numpy as np
assert model(np.zeros((5, 6, 3), np.uint8)).shape == (10, 12, 3)
heavy = {"basicsr", "basicsr_mambair", "torchvision", "matplotlib", "scipy"}
assert not heavy & {each.split(".")[0] for each in sys.modules}
assert before[1:3] == (list(sys.path), list(sys.meta_path))
"""


def test_importing_is_light_and_restoring_needs_no_basicsr(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LIGHT], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def model() -> Restorer:
    return mambair.load("tiny_x2", device="cpu")


def test_every_kind_comes_back_as_its_kind(model: Restorer) -> None:
    eight = model(RGB)
    assert eight.dtype == np.uint8 and eight.shape == (36, 52, 3)
    bgr = model(np.ascontiguousarray(RGB[..., ::-1]), order="bgr")
    np.testing.assert_array_equal(bgr[..., ::-1], eight)

    deep = model(RGB.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257.0 - eight).max() < 0.51
    for dtype in (np.float16, np.float32, np.float64):
        real = model((RGB / 255).astype(dtype))
        assert real.dtype == dtype and real.min() >= 0 and real.max() <= 1
        assert np.abs(real * 255.0 - eight).max() < 0.8

    picture = model(Image.fromarray(RGB))
    assert picture.mode == "RGB" and picture.size == (52, 36)
    np.testing.assert_array_equal(np.asarray(picture), eight)

    batch = torch.from_numpy(np.stack([RGB, RGB[::-1]])).permute(0, 3, 1, 2) / 255
    restored = model(batch)
    assert restored.dtype == torch.float32 and restored.shape == (2, 3, 36, 52)
    np.testing.assert_allclose(restored[0].permute(1, 2, 0) * 255, eight, atol=0.51)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_are_kept(model: Restorer, channels: int) -> None:
    image = np.dstack([RGB, RGB[..., 0]])[..., :channels]
    assert model(image).shape == (36, 52, channels)
    tensor = torch.from_numpy(image / 255).permute(2, 0, 1)[None]
    assert model(tensor).shape == (1, channels, 36, 52)
    assert model(tensor).dtype == torch.float64


@pytest.mark.parametrize(
    ("mode", "restored"),
    [("L", "L"), ("LA", "LA"), ("RGBA", "RGBA"), ("P", "RGB"), ("1", "L"), ("CMYK", "RGB"),
     ("I;16", "I;16"), ("I", "I;16")],
)  # fmt: skip
def test_modes_of_pil(model: Restorer, mode: str, restored: str) -> None:
    if mode.startswith("I"):
        deep = RGB[..., 0].astype(np.uint16) * 257
        picture = Image.fromarray(deep.astype(np.int32) if mode == "I" else deep)
    else:
        picture = Image.fromarray(RGB).convert(mode)
    assert picture.mode == mode
    result = model(picture)
    assert (result.mode, result.size) == (restored, (52, 36))


@pytest.mark.parametrize(
    ("picture", "given"),
    [
        (np.zeros((4, 5, 5), np.uint8), r"array of uint8, \(4, 5, 5\)"),
        (np.zeros((0, 5), np.uint8), r"array of uint8, \(0, 5\)"),
        (np.zeros((4, 5), np.int64), r"array of int64, \(4, 5\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"\(2, 4, 5, 3\)"),
        (np.full((4, 5), 200.0), "values from 200 to 200"),
        (np.full((4, 5), np.nan), "values from nan"),
        (torch.zeros(3, 4, 5), r"tensor of torch.float32, \(3, 4, 5\)"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.uint8), "tensor of torch.uint8"),
        (torch.zeros(1, 5, 4, 4), r"\(4, 4, 5\)"),
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "beyond 16 bits"),
        ("bird.png", "a str was given"),
        (None, "a NoneType was given"),
    ],
)
def test_what_is_not_a_picture_is_named(model: Restorer, picture: object, given: str) -> None:
    with pytest.raises(PictureError, match=f"{given}.*a picture is an array of uint8"):
        model(picture)  # type: ignore[type-var]


def test_load_by_task_and_what_does_not_go_together() -> None:
    assert mambair.load(device="cpu").scale == 2
    assert mambair.load(scale=4).scale == 4
    jpeg = mambair.load(task="jpeg")
    assert (jpeg.scale, jpeg.channels) == (1, 1)
    for arguments, message in (
        (dict(name="tiny_x2", task="sr"), "a name chooses weights"),
        (dict(name="tiny_x2", scale=3), "enlarges by 2"),
        (dict(task="jpeg", scale=2), "scale 2: task 'jpeg' has weights for scale 1"),
        (dict(task="deblur"), "must be one of sr, jpeg, denoising, camera, photo"),
        (dict(scale=5), "has weights for scale 2, 3, 4"),
        (dict(name="tiny"), "models known here: tiny_camera, tiny_denoising"),
    ):
        with pytest.raises(CheckpointError, match=message):
            mambair.load(**arguments)
    with pytest.raises(ValueError, match="order must be"):
        mambair.load()(RGB, order="gbr")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="there is no MPS device here$"):
        pick_device("mps")
    with pytest.raises(ValueError, match="there is no CUDA device here"):
        pick_device("cuda:1")
    with pytest.raises(ValueError, match="'gpu' is not a device"):
        pick_device("gpu")
    with pytest.raises(ValueError, match="meta: tensors of this device hold no values"):
        pick_device("meta")
    from mambair.inference import device

    monkeypatch.setattr(device.torch, "empty", lambda *_, **__: None)
    for there, chosen in (({"mps", "xpu", "cuda"}, "cuda"), ({"mps", "xpu"}, "xpu"),
                          ({"mps"}, "mps"), (set(), "cpu")):  # fmt: skip
        monkeypatch.setattr(device, "_is_available", there.__contains__)
        assert pick_device().type == chosen
