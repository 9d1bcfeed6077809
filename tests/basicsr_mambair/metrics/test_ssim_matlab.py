"""MATLAB's SSIM: flat colors worked out by hand, and the definition summed voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from basicsr.metrics.psnr_ssim import calculate_ssim

from basicsr_mambair.metrics.ssim_matlab import calculate_ssim_matlab
from tests.conftest import photograph

C1, C2 = 6.5025, 58.5225  # (0.01 · 255)², (0.03 · 255)²


def gaussian() -> list[float]:
    weights = [math.exp(-(x**2) / (2 * 1.5**2)) for x in range(-5, 6)]
    return [weight / sum(weights) for weight in weights]


def test_flat_colors_by_hand() -> None:
    """Only the window across the three slices is left of the volume.

    With the weights w(−5)…w(5) of the Gaussian and its ends repeated, slice 0 sees itself by
    s = w(0) + … + w(5), the next by w(1), the last by t = w(2) + … + w(5); slice 1 sees both
    neighbors by s − w(0) and itself by w(0); slice 2 mirrors slice 0.
    """
    w = gaussian()[5:]
    s, t = sum(w), sum(w[2:])
    mixing = [[s, w[1], t], [s - w[0], w[0], s - w[0]], [t, w[1], s]]
    first, second = (200.0, 90.0, 40.0), (180.0, 120.0, 35.0)
    values = []
    for row in mixing:
        assert sum(row) == pytest.approx(1)
        mean_a = sum(m * a for m, a in zip(row, first, strict=True))
        mean_b = sum(m * b for m, b in zip(row, second, strict=True))
        var_a = sum(m * a * a for m, a in zip(row, first, strict=True)) - mean_a**2
        var_b = sum(m * b * b for m, b in zip(row, second, strict=True)) - mean_b**2
        cov = sum(m * a * b for m, a, b in zip(row, first, second, strict=True)) - mean_a * mean_b
        luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        values.append(luminance * (2 * cov + C2) / (var_a + var_b + C2))
    a, b = (np.full((12, 9, 3), color) for color in (first, second))
    assert calculate_ssim_matlab(a, b, 0) == pytest.approx(sum(values) / 3, abs=1e-9)


def test_the_definition_voxel_by_voxel() -> None:
    """The window of 11×11×11 on a volume whose border is repeated, without any separation."""
    rng = np.random.default_rng(0)
    truth = photograph(height=14, width=17).astype(np.float64)
    noisy = np.clip(truth + rng.normal(0, 20, truth.shape), 0, 255)
    w = np.array(gaussian())
    window = np.einsum("i,j,k->ijk", w, w, w)
    a, b = (np.pad(picture, 5, mode="edge") for picture in (noisy, truth))
    total = 0.0
    for row, column, channel in np.ndindex(truth.shape):
        place = np.s_[row : row + 11, column : column + 11, channel : channel + 11]
        mean_a, mean_b = (window * a[place]).sum(), (window * b[place]).sum()
        var_a = (window * (a[place] - mean_a) ** 2).sum()
        var_b = (window * (b[place] - mean_b) ** 2).sum()
        cov = (window * (a[place] - mean_a) * (b[place] - mean_b)).sum()
        value = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        total += value * (2 * cov + C2) / (var_a + var_b + C2)
    measured = calculate_ssim_matlab(noisy, truth, 0)
    assert measured == pytest.approx(total / truth.size, abs=1e-9)
    # The channels by themselves, without their borders, give another figure.
    assert abs(measured - calculate_ssim(noisy, truth, 0)) > 1e-3


def test_gray_has_nothing_to_mix() -> None:
    truth = photograph(height=30, width=40)[..., :1].astype(np.float64)
    noisy = truth + np.random.default_rng(1).normal(0, 10, truth.shape)
    assert calculate_ssim_matlab(noisy[5:-5, 5:-5], truth[5:-5, 5:-5], 0) == pytest.approx(
        calculate_ssim_matlab(noisy, truth, 5)
    )
    flat = calculate_ssim_matlab(noisy[..., 0], truth[..., 0], 0)
    assert flat == pytest.approx(calculate_ssim_matlab(noisy, truth, 0))
    assert 0 < flat < 1
    assert calculate_ssim_matlab(truth, truth, 0) == pytest.approx(1, abs=1e-12)


def test_order_luma_and_an_option_file() -> None:
    truth, other = photograph(height=32, width=48), photograph("coffee", 32, 48)
    value = calculate_ssim_matlab(other, truth, 0)
    swapped = (np.moveaxis(each, 2, 0) for each in (other, truth))
    assert calculate_ssim_matlab(*swapped, 0, input_order="CHW") == pytest.approx(value)
    # RGB or BGR: the window is symmetric.
    assert calculate_ssim_matlab(other[..., ::-1], truth[..., ::-1], 0) == pytest.approx(value)
    section = {"type": "calculate_ssim_matlab", "crop_border": 2, "test_y_channel": True}
    luma = calculate_metric({"img": other, "img2": truth}, section)
    assert luma == pytest.approx(calculate_ssim_matlab(other, truth, 2, test_y_channel=True))
    with pytest.raises(ValueError, match="calculate_ssim_matlab: shapes differ"):
        calculate_ssim_matlab(truth, truth[:8], 0)
