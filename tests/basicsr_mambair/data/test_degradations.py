"""Laws that every degradation obeys, and the results that each one must compute."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr_mambair.data.degradations import (
    DEGRADATIONS,
    Degradation,
    Drawn,
    PictureDegradation,
    build_degradation,
    register_degradation,
)
from basicsr_mambair.data.degradations.gaussian_noise import GaussianNoise
from basicsr_mambair.data.degradations.jpeg_compression import JpegCompression
from mambair.imaging.pixels import Pixels, to_uint8
from mambair.imaging.resizing import imresize
from tests.conftest import photograph

# Every registered degradation, with each of its own examples.
OPERATORS = {
    f"{name}-{number}": cls(**example)
    for name, cls in DEGRADATIONS.items()
    for number, example in enumerate(cls.examples, 1)
}


def picture(operator: Degradation, channels: int = 3) -> Pixels:
    """A photograph whose sides are multiples of the factor."""
    height, width = (side // operator.factor * operator.factor for side in (96, 128))
    return photograph()[:height, :width, :channels]


def test_every_degradation_has_examples() -> None:
    assert {name.rsplit("-", 1)[0] for name in OPERATORS} == set(DEGRADATIONS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATORS)
class TestLaws:
    def test_same_seed_same_result(self, name: str, channels: int) -> None:
        image = picture(OPERATORS[name], channels)
        first, second = (OPERATORS[name](image, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_input_and_global_state_do_not_change(self, name: str, channels: int) -> None:
        image = picture(OPERATORS[name], channels)
        before, state = image.copy(), np.random.get_state()[1].copy()
        OPERATORS[name](image, np.random.default_rng(0))
        np.testing.assert_array_equal(image, before)
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    def test_float_and_uint8_agree(self, name: str, channels: int) -> None:
        image = picture(OPERATORS[name], channels)
        low = OPERATORS[name](image, np.random.default_rng(1))
        high = OPERATORS[name](image.astype(np.float32) / 255, np.random.default_rng(1))
        assert low.shape == high.shape
        assert np.abs(to_uint8(low).astype(int) - to_uint8(high)).max() <= 2

    def test_it_shrinks_by_its_factor(self, name: str, channels: int) -> None:
        operator = OPERATORS[name]
        image = picture(operator, channels)
        low = operator(image, np.random.default_rng(0))
        height, width = (side // operator.factor for side in image.shape[:2])
        assert low.shape == (height, width, channels)

    def test_a_crop_with_halo_equals_the_crop_of_the_whole(self, name: str, channels: int) -> None:
        operator = OPERATORS[name]
        factor, halo, grid = operator.factor, operator.halo, operator.grid
        side = (2 * halo + 16 + 7) // grid * grid + 3 * grid
        image = photograph("chelsea", 224, 224)[: side * factor, : side * factor, :channels]
        if _differs_by_pixel(operator, image):
            pytest.skip("every pixel draws a number of its own")
        whole = operator(image, np.random.default_rng(0))
        top = 2 * grid + halo if grid > 1 else 7 + halo
        begin, end = top - halo, top + 16 + halo
        window = image[begin * factor : end * factor, : (16 + halo) * factor]
        part = operator(window, np.random.default_rng(0))[halo : halo + 16, :16]
        np.testing.assert_array_equal(part, whole[top : top + 16, :16])


def _differs_by_pixel(operator: Degradation, image: Pixels) -> bool:
    """True if a flat picture comes back uneven: then every pixel has draws of its own."""
    flat = np.full_like(image, 128)
    return len(np.unique(operator(flat, np.random.default_rng(0)))) > 16


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="already has a degradation 'jpeg'"):

        @register_degradation("jpeg")
        class Other(PictureDegradation):
            def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
                return image

    assert DEGRADATIONS["jpeg"] is JpegCompression


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
        ({"type": "bicubi"}, "there is no degradation 'bicubi'; did you mean 'bicubic'"),
        ({"type": "gaussian_noise"}, "sigma: is missing; gaussian_noise needs it"),
        ("jpeg", "quality: is missing; jpeg needs it"),
        ({"type": "gaussian_noise", "sgima": 3}, "has no argument 'sgima'; did you mean 'sigma'"),
        ({"type": "gaussian_noise", "sigma": [5, 1]}, "sigma: must be a number or a range"),
        ({"type": "jpeg", "quality": 0}, "quality: must be between 1 and 100"),
        ({"type": "bicubic", "scale": 0.5}, "scale: must be a whole number"),
    ],
)
def test_bad_options(options: dict | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_degradation(options, scale=2)
