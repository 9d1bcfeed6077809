"""Laws that every degradation obeys, and the results that each one must compute."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basicsr_mambair.data.degradations import (
    DEGRADATIONS,
    Degradation,
    Drawn,
    PictureDegradation,
    build_degradation,
    register_degradation,
)
from basicsr_mambair.data.degradations.degradation import to_batch
from basicsr_mambair.data.degradations.gaussian_noise import GaussianNoise
from basicsr_mambair.data.degradations.jpeg_compression import JpegCompression
from mambair.imaging.pixels import Pixels, to_float, to_uint8
from mambair.imaging.resizing import imresize
from tests.conftest import photograph

# Every registered degradation, with each of its own examples.
OPERATORS = {
    f"{name}-{number}": cls(**example)
    for name, cls in DEGRADATIONS.items()
    for number, example in enumerate(cls.examples, 1)
}
IDENTITIES = {
    f"{name}-{number}": cls(**arguments)
    for name, cls in DEGRADATIONS.items()
    for number, arguments in enumerate(cls.identity, 1)
}


def picture(operator: Degradation, channels: int = 3, name: str = "coffee") -> Pixels:
    """A photograph whose sides are multiples of the factor."""
    height, width = (side // operator.factor * operator.factor for side in (40, 56))
    return photograph(name)[:height, :width, :channels]


def batch(*pictures: Pixels) -> torch.Tensor:
    return torch.cat([to_batch(each) for each in pictures])


def test_every_degradation_has_examples() -> None:
    assert {name.rsplit("-", 1)[0] for name in OPERATORS} == set(DEGRADATIONS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATORS)
class TestLaws:
    def test_a_draw_is_text_that_gives_the_same_picture(self, name: str, channels: int) -> None:
        operator = OPERATORS[name]
        image = picture(operator, channels)
        drawn = operator.draw(np.random.default_rng(3))
        first = operator.apply(image, drawn)
        again = json.loads(json.dumps(operator.draw(np.random.default_rng(3))))
        assert again == drawn
        np.testing.assert_array_equal(operator.apply(image, again), first)
        np.testing.assert_array_equal(operator(image, np.random.default_rng(3)), first)

    def test_shape_type_and_range(self, name: str, channels: int) -> None:
        operator = OPERATORS[name]
        image = picture(operator, channels)
        low = operator(image, np.random.default_rng(0))
        height, width = (side // operator.factor for side in image.shape[:2])
        assert low.shape == (height, width, channels)
        assert low.dtype in (np.uint8, np.float32)
        if operator.bounded and low.dtype != np.uint8:
            assert low.min() >= 0 and low.max() <= 1

    def test_input_and_global_state_do_not_change(self, name: str, channels: int) -> None:
        image = picture(OPERATORS[name], channels)
        before = image.copy(), np.random.get_state()[1].copy(), random.getstate()
        torch_state = torch.get_rng_state()
        OPERATORS[name](image, np.random.default_rng(0))
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])
        assert random.getstate() == before[2]
        assert torch.equal(torch.get_rng_state(), torch_state)

    def test_float_and_uint8_agree(self, name: str, channels: int) -> None:
        image = picture(OPERATORS[name], channels)
        low = OPERATORS[name](image, np.random.default_rng(1))
        high = OPERATORS[name](image.astype(np.float32) / 255, np.random.default_rng(1))
        assert low.shape == high.shape
        assert np.abs(to_uint8(low).astype(int) - to_uint8(high)).max() <= 2

    def test_a_batch_holds_the_same_as_single_pictures(self, name: str, channels: int) -> None:
        operator, rng = OPERATORS[name], np.random.default_rng(2)
        pictures = [picture(operator, channels, name) for name in ("coffee", "chelsea")]
        drawn = [operator.draw(rng) for _ in pictures]
        images = batch(*pictures)
        before = images.clone()
        results = operator.apply_batch(images, drawn)
        assert results.dtype == torch.float32 and torch.equal(images, before)
        for result, image, each in zip(results, pictures, drawn, strict=True):
            single = to_batch(operator.apply(to_float(image), each))[0]
            # Sums in another order may move a number that is then rounded.
            differs = (result - single).abs() > 1e-5
            assert differs.float().mean() < 0.01
            assert (result - single).abs().max() < 0.1

    def test_a_crop_with_halo_equals_the_crop_of_the_whole(self, name: str, channels: int) -> None:
        operator = OPERATORS[name]
        factor, halo, grid = operator.factor, operator.halo, operator.grid
        side = (2 * halo + 16 + 7) // grid * grid + 3 * grid
        image = photograph("chelsea", 224, 224)[: side * factor, : side * factor, :channels]
        if not operator.crops_exactly:
            pytest.skip("the result of a crop depends on its place")
        if _differs_by_pixel(operator, image):
            pytest.skip("every pixel draws a number of its own")
        whole = operator(image, np.random.default_rng(0))
        top = 2 * grid + halo if grid > 1 else 7 + halo
        begin, end = top - halo, top + 16 + halo
        window = image[begin * factor : end * factor, : (16 + halo) * factor]
        part = operator(window, np.random.default_rng(0))[halo : halo + 16, :16]
        np.testing.assert_allclose(part, whole[top : top + 16, :16], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", IDENTITIES)
def test_at_zero_strength_a_picture_stays_as_it_is(name: str, channels: int) -> None:
    operator = IDENTITIES[name]
    image = photograph()[:40, :56, :channels].astype(np.float32) / 255
    for seed in range(2):
        result = operator(image, np.random.default_rng(seed))
        np.testing.assert_allclose(to_float(result), image, atol=1e-6)


def test_what_has_a_strength_has_an_identity() -> None:
    codecs = {"jpeg", "webp", "differentiable_jpeg"}
    pipelines = {"phone", "second_order", "bsrgan", "one_of"}
    own = {name for name, cls in DEGRADATIONS.items() if cls.__module__.startswith("basicsr_mamb")}
    without = {name for name in own if not DEGRADATIONS[name].identity}
    assert without == codecs | pipelines


@pytest.mark.parametrize("name", OPERATORS)
def test_gray_is_degraded_as_equal_colors(name: str) -> None:
    operator = OPERATORS[name]
    gray = picture(operator, 1)
    color = operator(np.repeat(gray, 3, axis=2), np.random.default_rng(0))
    if np.abs(np.ptp(to_float(color), axis=2)).max() > 0.05 or "second_order" in name:
        pytest.skip("the noise is not that of a gray picture")
    result = to_float(operator(gray, np.random.default_rng(0)))
    assert np.abs(to_float(color) - result).mean() < 0.02


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
        ({"type": "sometimes", "part": "bicubic", "probability": 2}, "probability: must be a prob"),
        ({"type": "sometimes", "part": {"type": "jepg"}, "probability": 1}, "part.type: there is"),
        ({"type": "one_of", "parts": []}, "parts: must be a list of degradations"),
        ({"type": "one_of", "parts": ["bicubic", {"type": "jpeg"}]}, "parts.1.quality: is missing"),
        (
            {"type": "one_of", "parts": ["bicubic", {"type": "jpeg", "quality": 9}]},
            r"parts: must all shrink by the same factor, but shrink by \[1, 2\]",
        ),
        (
            {"type": "one_of", "parts": ["bicubic", "bicubic"], "probabilities": [1]},
            "probabilities: must be 2 numbers",
        ),
        ({"type": "random_downscale", "methods": ["lanczos"]}, "methods: must be among area"),
        ({"type": "random_scale", "factor": 0}, "factor: must be between"),
        ({"type": "webp", "quality": 101}, "quality: must be between 1 and 100"),
        ({"type": "differentiable_jpeg", "quality": 50, "rounding": "no"}, "rounding: must be am"),
        ({"type": "chroma_subsampling", "layouts": ["4:2:1"]}, "layouts: must be among 4:4:4"),
        ({"type": "second_order", "noise_range": [5, 1]}, "noise_range: must be a number or"),
        ({"type": "second_order", "gray_noise_prob2": 2}, "gray_noise_prob2: must be a prob"),
        ({"type": "second_order", "jpeg_range2": [0, 10]}, "jpeg_range2: must be between 1"),
        ({"type": "second_order", "blur_sigma2": [3, 1]}, "blur_sigma2: must be a number or"),
        ({"type": "second_order", "kernel_prob2": [1]}, "kernel_prob2: must be 6 numbers"),
        ({"type": "second_order", "resize_range": [2, 3]}, "resize_range: must begin between"),
        ({"type": "second_order", "resize_prob2": [1, 1]}, "resize_prob2: must be three numbers"),
        ({"type": "second_order", "blur_kernel_size": 5}, "blur_kernel_size: must be at least 7"),
        ({"type": "second_order", "betag_range2": [0, 1]}, "betag_range2: must begin above 0"),
        ({"type": "phone", "sharpen_probability": 2}, "sharpen_probability: must be a prob"),
        ({"type": "phone", "noise_sigma": [2, 1]}, "noise_sigma: must be a number or a range"),
        ({"type": "bsrgan", "camera_probability": 2}, "camera_probability: must be a prob"),
        ({"type": "bsrgan", "anisotropic_sigma": [2, 1]}, "anisotropic_sigma: must be a number"),
        ({"type": "bsrgan", "quality": [0, 9]}, "quality: must be between 1 and 100"),
    ],
)
def test_bad_options(options: dict | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_degradation(options, scale=2)
