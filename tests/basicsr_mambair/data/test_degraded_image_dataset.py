"""Training from a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from basicsr_mambair.data import DegradedImageDataset
from mambair.imaging.errors import PictureError
from mambair.imaging.resizing import imresize


def dataset(root: Any, **changes: Any) -> DegradedImageDataset:
    opt = {"phase": "val", "scale": 2, "dataroot_gt": root, "gt_size": 32}
    return DegradedImageDataset({**opt, **changes})


def pixels(tensor: torch.Tensor) -> np.ndarray:
    return np.rint(tensor.numpy().transpose(1, 2, 0)[..., ::-1] * 255).astype(np.uint8)


def test_validation_pictures_are_degraded_the_same_way_every_time(pairs: Path) -> None:
    samples = dataset(str(pairs / "HR"))
    for i in range(3):
        gt = cv2.imread(samples[i]["gt_path"])
        np.testing.assert_array_equal(pixels(samples[i]["gt"]), gt)
        np.testing.assert_array_equal(pixels(samples[i]["lq"]), imresize(gt, 0.5))
    noisy = dataset(str(pairs / "HR"), scale=1, degradation={"type": "gaussian_noise", "sigma": 30})
    assert torch.equal(noisy[0]["lq"], noisy[0]["lq"])
    assert not torch.equal(noisy[0]["lq"] - noisy[0]["gt"], noisy[1]["lq"] - noisy[1]["gt"])


@pytest.mark.parametrize("scale", [1, 2])
def test_a_training_crop_is_the_crop_of_the_degraded_picture(pairs: Path, scale: int) -> None:
    chain = [{"type": "bicubic"}, {"type": "jpeg", "quality": 20}][2 - scale :]
    samples = dataset(
        str(pairs / "HR"), phase="train", use_hflip=False, use_rot=False, scale=scale,
        gt_size=16 * scale, degradation=chain,
    )  # fmt: skip
    whole = cv2.imread(samples[0]["gt_path"])
    whole = samples.degradation(whole, np.random.default_rng(0))
    for _ in range(30):  # borders included
        lq = pixels(samples[0]["lq"])
        windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16), axis=(0, 1))
        found = (windows == lq.transpose(2, 0, 1)).all(axis=(2, 3, 4))
        assert found.any()


@pytest.mark.parametrize("phase", ["train", "val"])
@pytest.mark.parametrize("kind", ["phone", "second_order", "bsrgan"])
def test_what_was_drawn_gives_the_sample_again(pairs: Path, phase: str, kind: str) -> None:
    samples = dataset(str(pairs / "HR"), phase=phase, degradation={"type": kind})
    loader = torch.utils.data.DataLoader(samples, batch_size=2)  # type: ignore[arg-type]
    batch = next(iter(loader))
    assert len(batch["drawn"]) == 2 and batch["drawn"][0] != batch["drawn"][1]
    for index, drawn in enumerate(batch["drawn"]):
        again = samples.replay(index, drawn)
        assert torch.equal(again["lq"], batch["lq"][index])
        assert torch.equal(again["gt"], batch["gt"][index])
        assert again["drawn"] == drawn


def test_degradations_in_a_row_and_gray(pairs: Path) -> None:
    chain = [{"type": "bicubic"}, {"type": "jpeg", "quality": [10, 20]}]
    sample = dataset(str(pairs / "HR"), phase="train", degradation=chain, gray=True)[0]
    assert sample["lq"].shape == (1, 16, 16)
    assert sample["gt"].shape == (1, 32, 32)


def test_pictures_of_an_installed_package() -> None:
    samples = dataset("pkg://skimage/data", include=["c*.png"], exclude=["ce*", "clock*", "co*"])
    assert [path.name for path in samples.paths] == [
        "camera.png", "chelsea.png", "chessboard_GRAY.png", "chessboard_RGB.png",
    ]  # fmt: skip


def test_cache_reads_once(pairs: Path) -> None:
    samples = dataset(str(pairs / "HR"), cache_in_memory=True)
    first = samples[0]["gt"]
    Path(samples[0]["gt_path"]).unlink()
    assert torch.equal(samples[0]["gt"], first)


@pytest.mark.parametrize(
    ("root", "changes", "message"),
    [
        ("pkg://skimage/dta", {}, "package 'skimage' holds no 'dta'"),
        ("pkg://no_such_package/x", {}, "package 'no_such_package' is not installed"),
        ("pkg://skimage/data", {"include": ["coffe.png"]}, "no picture .* is named 'coffe.png'"),
        ("pkg://skimage/data", {"degradation": {"type": "jpeg", "quality": 5}}, "must shrink by"),
        (
            "pkg://skimage/data",
            {"degradation": {"type": "blur"}},
            "degradation.type: there is no degrad",
        ),
        (
            "pkg://skimage/data",
            {
                "degradation": [
                    "bicubic",
                    {
                        "type": "sometimes",
                        "part": {"type": "jpeg", "quality": "x"},
                        "probability": 1,
                    },
                ]
            },
            "degradation.part.quality: must be a whole number",
        ),
        ("pkg://skimage/data", {"degradation": [3]}, "degradation: must be sections with a type"),
        ("pkg://skimage/data", {"phase": "train", "gt_size": 31}, "gt_size: must be a multiple"),
        ("pkg://skimage/data", {"io_backend": {"type": "lmdb"}}, "io_backend.type: must be 'disk'"),
        (None, {}, "dataroot_gt: must be a folder"),
    ],
)
def test_what_is_wrong_is_named(root: Any, changes: dict, message: str) -> None:
    with pytest.raises((ValueError, PictureError), match=message):
        dataset(root, **changes)
