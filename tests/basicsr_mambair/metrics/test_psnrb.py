"""PSNR-B against its definition, on pictures whose steps are counted by hand, and on real JPEG."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from basicsr.metrics.psnr_ssim import calculate_psnr

from basicsr_mambair.metrics.psnrb import blocking_effect, calculate_psnrb
from mambair.imaging.jpeg import jpeg
from tests.conftest import photograph


def test_by_hand() -> None:
    """16×16, columns 8 to 15 one level higher: of 32 steps across borders 16 are 1."""
    restored = np.full((16, 16, 1), 100.0)
    restored[:, 8:] += 1
    truth = np.full((16, 16, 1), 100.0)
    factor = 0.5 * 3 / 4  # (16/32 − 0) · log2(8) / log2(16)
    assert blocking_effect(restored[..., 0]) == pytest.approx(factor)
    expected = 10 * math.log10(255**2 / (0.5 + factor))
    assert calculate_psnrb(restored, truth, 0) == pytest.approx(expected)


def test_steps_within_blocks_cost_nothing_and_the_measure_is_not_symmetric() -> None:
    stepped = np.full((16, 16, 1), 100.0)
    stepped[:, 4:] += 1
    flat = np.full((16, 16, 1), 100.0)
    assert blocking_effect(stepped[..., 0]) == 0
    assert calculate_psnrb(stepped, flat, 0) == pytest.approx(calculate_psnr(stepped, flat, 0))
    stepped[:, 8:] += 5
    assert calculate_psnrb(stepped, flat, 0) < calculate_psnrb(flat, stepped, 0)


def test_the_grid_is_that_of_the_whole_picture() -> None:
    picture = np.zeros((40, 40, 1))
    picture[:, 16:] = 9
    whole = blocking_effect(picture[3:-3, 3:-3, 0], offset=3)
    assert whole > 0
    assert blocking_effect(picture[3:-3, 3:-3, 0]) == 0
    truth = np.zeros((40, 40, 1))
    mse = float(np.mean((picture - truth)[3:-3, 3:-3] ** 2))
    expected = 10 * math.log10(255**2 / (mse + whole))
    assert calculate_psnrb(picture, truth, 3) == pytest.approx(expected)


@pytest.mark.parametrize("quality", [10, 30])
def test_jpeg_is_distinguished_from_other_errors(quality: int) -> None:
    truth = cv2.cvtColor(photograph(height=160, width=200), cv2.COLOR_BGR2GRAY)[..., None]
    compressed = jpeg(truth, quality).reshape(truth.shape)
    loss = calculate_psnr(compressed, truth, 0) - calculate_psnrb(compressed, truth, 0)
    noise = np.random.default_rng(0).normal(0, 5, truth.shape)
    noisy = np.clip(truth + noise, 0, 255)
    noise_loss = calculate_psnr(noisy, truth, 0) - calculate_psnrb(noisy, truth, 0)
    assert loss > 0.2
    assert noise_loss < 0.05


def test_color_luma_and_order() -> None:
    truth = photograph(height=64, width=80)
    compressed = jpeg(truth, 10)
    by_luma = calculate_psnrb(compressed, truth, 2, test_y_channel=True)
    assert by_luma < calculate_psnr(compressed, truth, 2, test_y_channel=True)
    first = np.moveaxis(compressed, 2, 0), np.moveaxis(truth, 2, 0)
    assert calculate_psnrb(*first, 0, input_order="CHW") == pytest.approx(
        calculate_psnrb(compressed, truth, 0)
    )


def test_equal_pictures_and_bad_input() -> None:
    flat = np.full((16, 16, 3), 7, np.uint8)
    assert calculate_psnrb(flat, flat, 0) == math.inf
    with pytest.raises(ValueError, match="shapes differ"):
        calculate_psnrb(flat, flat[:8], 0)
    with pytest.raises(ValueError, match="input_order"):
        calculate_psnrb(flat, flat, 0, input_order="WHC")


def test_an_option_file_names_it() -> None:
    truth = photograph(height=64, width=64)
    section = {"type": "calculate_psnrb", "crop_border": 0, "test_y_channel": True}
    value = calculate_metric({"img": jpeg(truth, 20), "img2": truth}, section)
    assert value == pytest.approx(calculate_psnrb(jpeg(truth, 20), truth, 0, test_y_channel=True))
