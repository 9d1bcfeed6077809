"""SSIM as MATLAB's ``ssim`` computes it, which tables of SIDD and DND print."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY
from numpy.typing import NDArray

from basicsr_mambair.metrics.preparation import comparable
from basicsr_mambair.options.fields import declares
from basicsr_mambair.options.sections import MetricOptions
from basicsr_mambair.registering import registers_in
from mambair.imaging.pixels import Pixels

_SIGMA = 1.5
_RADIUS = 5  # MATLAB: three standard deviations, rounded up
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@registers_in(METRIC_REGISTRY)
def calculate_ssim_matlab(
    img: Pixels,
    img2: Pixels,
    crop_border: int,
    input_order: str = "HWC",
    test_y_channel: bool = False,
    **kwargs: Any,
) -> float:
    """SSIM (Wang et al., IEEE Trans. Image Processing 13(4), 2004) of MATLAB's ``ssim(A, ref)``.

    Two things differ from ``calculate_ssim``. MATLAB takes an RGB picture for a volume of three
    slices (its data format ``SSS``), so that its window of 11×11×11 mixes the channels. And it
    repeats border pixels and averages over every pixel, where ``calculate_ssim`` leaves out a
    border of 5. For the papers' figures of SIDD, MATLAB's function measured the results.

    Args:
        img: restored picture, [0, 255], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``; integers, or
            floats that have not been rounded.
        img2: ground truth of the same shape.
        crop_border: pixels cut off at every edge.
        input_order: ``"HWC"`` or ``"CHW"``.
        test_y_channel: measure the luma of YCbCr.
        kwargs: ignored; BasicSR passes keys of the option file that are not for the function.

    Raises:
        ValueError: shapes that differ, or an unknown order.
    """
    a, b = (
        picture.astype(np.float64)
        for picture in comparable(
            "calculate_ssim_matlab", img, img2, crop_border, input_order, test_y_channel
        )
    )
    mean_a, mean_b = _windowed_mean(a), _windowed_mean(b)
    variance_a = _windowed_mean(a * a) - mean_a**2
    variance_b = _windowed_mean(b * b) - mean_b**2
    covariance = _windowed_mean(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    similarity /= (mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2)
    return float(similarity.mean())


declares(calculate_ssim_matlab, MetricOptions)


def _windowed_mean(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filters ``(H, W, C)`` by a Gaussian along all three axes; border values are repeated."""
    weights = cv2.getGaussianKernel(2 * _RADIUS + 1, _SIGMA)
    filtered = cv2.sepFilter2D(volume, -1, weights, weights, borderType=cv2.BORDER_REPLICATE)
    # The same filter along C, as a matrix: OpenCV's filters do not cross channels.
    channels = volume.shape[2]
    mixing = np.zeros((channels, channels))
    for channel in range(channels):
        for offset, weight in enumerate(weights[:, 0], start=channel - _RADIUS):
            mixing[channel, min(max(offset, 0), channels - 1)] += weight
    mixed: NDArray[np.float64] = filtered.reshape(volume.shape) @ mixing.T
    return mixed
