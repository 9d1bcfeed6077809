"""Laws that every degradation keeps, and what each one must compute."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr_mambair.data.degradations import (
    DEGRADATIONS,
    Bicubic,
    Degradation,
    GaussianNoise,
    JpegCompression,
    build_degradation,
)
from mambair.imaging.pixels import to_uint8
from mambair.imaging.resizing import imresize
from tests.conftest import photograph

OPERATORS = {
    "bicubic": Bicubic(2),
    "gaussian_noise": GaussianNoise([5, 50]),
    "jpeg": JpegCompression([10, 90]),
}


def test_every_degradation_is_listed() -> None:
    assert OPERATORS.keys() == DEGRADATIONS.keys()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATORS)
class TestLaws:
    def test_same_seed_same_result(self, name: str, channels: int) -> None:
        image = photograph()[..., :channels]
        first, second = (OPERATORS[name](image, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_input_and_global_state_are_left_alone(self, name: str, channels: int) -> None:
        image = photograph()[..., :channels]
        before, state = image.copy(), np.random.get_state()[1].copy()
        OPERATORS[name](image, np.random.default_rng(0))
        np.testing.assert_array_equal(image, before)
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    def test_float_and_uint8_agree(self, name: str, channels: int) -> None:
        image = photograph()[..., :channels]
        low = OPERATORS[name](image, np.random.default_rng(1))
        high = OPERATORS[name](image.astype(np.float32) / 255, np.random.default_rng(1))
        assert low.shape == high.shape
        assert np.abs(to_uint8(low).astype(int) - to_uint8(high)).max() <= 2


@pytest.mark.parametrize(
    ("operator", "scale"),
    [(Bicubic(2), 2), (Bicubic(3), 3), (Bicubic(4), 4), (JpegCompression(10), 1)],
)
def test_a_crop_with_halo_equals_the_crop_of_the_whole(operator: Degradation, scale: int) -> None:
    rng, halo, grid = np.random.default_rng(0), operator.halo, operator.grid
    image = photograph("chelsea", 224, 224)
    whole = operator(image, rng)
    top = 2 * grid + halo if grid > 1 else 7 + halo
    begin, end = top - halo, top + 16 + halo
    window = image[begin * scale : end * scale, : (16 + halo) * scale]
    part = operator(window, rng)[halo : halo + 16, :16]
    np.testing.assert_array_equal(part, whole[top : top + 16, :16])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_bit_exact_with_matlab(scale: int, benchmark_pictures: Path) -> None:
    for path in sorted((benchmark_pictures / "Set5" / "HR").glob("*.png")):
        image = cv2.imread(str(path))
        height, width = (side - side % scale for side in image.shape[:2])
        low = benchmark_pictures / "Set5" / "LR_bicubic" / f"X{scale}" / f"{path.stem}x{scale}.png"
        result = imresize(image[:height, :width], 1 / scale)
        np.testing.assert_array_equal(result, cv2.imread(str(low)))


def test_bicubic_by_hand() -> None:
    """A ramp shrunk by 2: weights of the widened kernel at ±¼, ±¾, ±1¼, ±1¾, mirrored ends."""
    ramp = np.arange(0, 160, 10, dtype=np.uint8)[:, None].repeat(4, axis=1)
    result = imresize(ramp, 0.5)[:, 0]
    weights = np.array([-0.0234375, -0.0703125, 0.2265625, 0.8671875])
    weights = np.concatenate([weights, weights[::-1]]) / 2
    padded = np.pad(ramp[:, 0].astype(float), 3, mode="symmetric")
    expected = [padded[i : i + 8] @ weights for i in range(0, 16, 2)]
    np.testing.assert_array_equal(result, np.floor(np.clip(expected, 0, 255) + 0.5))


def test_bicubic_of_16_bits_does_not_wrap_around() -> None:
    step = np.zeros((24, 24), np.uint16)
    step[:, 12:] = 65535
    for scale in (0.5, 2):
        result = imresize(step, scale).astype(float)
        expected = imresize((step // 257).astype(np.uint8), scale) * 257.0
        assert np.abs(result - expected).max() <= 2 * 257


def test_bicubic_keeps_constants_and_sizes() -> None:
    image = np.full((31, 17, 3), 77, np.uint8)
    for scale in (1 / 4, 1 / 3, 1 / 2, 1, 2, 3):
        result = imresize(image, scale)
        assert result.shape == (*(int(np.ceil(s * scale)) for s in image.shape[:2]), 3)
        assert (result == 77).all()


def test_noise_has_the_deviation_asked_for() -> None:
    image = np.full((200, 200, 3), 0.5, np.float32)
    noisy = GaussianNoise(25)(image, np.random.default_rng(0))
    assert noisy.dtype == np.float32
    assert float((noisy - image).std() * 255) == pytest.approx(25, rel=0.01)
    assert noisy.min() < 0.5 - 3 * 25 / 255, "the noise is not clipped"


def test_jpeg_gets_worse_with_quality() -> None:
    image = photograph()
    errors = [
        np.abs(JpegCompression(q)(image, np.random.default_rng(0)).astype(int) - image).mean()
        for q in (10, 40, 90)
    ]
    assert errors[0] > errors[1] > errors[2] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "bicubi"}, "no degradation 'bicubi'; did you mean 'bicubic'"),
        ({"type": "gaussian_noise"}, "sigma: is missing; gaussian_noise needs it"),
        ("jpeg", "quality: is missing; jpeg needs it"),
        ({"type": "gaussian_noise", "sgima": 3}, "has no argument 'sgima'; did you mean 'sigma'"),
        ({"type": "gaussian_noise", "sigma": [5, 1]}, "sigma: must be a number or a range"),
        ({"type": "jpeg", "quality": 0}, "quality: must be within 1 and 100"),
        ({"type": "bicubic", "scale": 0.5}, "scale: must be a whole number"),
    ],
)
def test_bad_options(options: dict | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_degradation(options, scale=2)
