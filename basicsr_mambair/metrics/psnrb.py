"""PSNR-B: PSNR in which steps between JPEG's blocks count as an additional error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY
from numpy.typing import NDArray

from basicsr_mambair.metrics.preparation import comparable
from basicsr_mambair.options.fields import declares, option
from basicsr_mambair.options.sections import MetricOptions
from basicsr_mambair.registering import registers_in
from mambair.imaging.pixels import Pixels


@dataclass
class PsnrbOptions(MetricOptions):
    """Keys of `calculate_psnrb`."""

    block_size: int = option(8, doc="Side of JPEG's blocks, in pixels.", ge=2, le=1024)


@registers_in(METRIC_REGISTRY)
def calculate_psnrb(
    img: Pixels,
    img2: Pixels,
    crop_border: int,
    input_order: str = "HWC",
    test_y_channel: bool = False,
    block_size: int = 8,
    **kwargs: Any,
) -> float:
    """PSNR-B of a restored picture (Yim & Bovik, IEEE Trans. Image Processing 20(1), 2011).

    ``10 log10(255² / (MSE + BEF))``. The blocking effect factor BEF compares the mean squared step
    between neighboring pixels across the borders of JPEG's blocks with that inside them, in the
    restored picture; the metric is not symmetric. The grid of blocks begins at the corner of the
    uncropped picture.

    Args:
        img: restored picture, [0, 255], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``; BGR if C is 3.
        img2: ground truth of the same shape.
        crop_border: pixels cut off at every edge.
        input_order: ``"HWC"`` or ``"CHW"``.
        test_y_channel: measure the luma of YCbCr.
        block_size: side of the blocks.
        kwargs: ignored; BasicSR passes keys of the option file that are not for the function.

    Returns:
        PSNR-B in dB; infinite for equal pictures without blocking. MSE and BEF are averaged over
        the channels.

    Raises:
        ValueError: shapes that differ, or an unknown order.
    """
    restored, truth = (
        picture.astype(np.float64)
        for picture in comparable(
            "calculate_psnrb", img, img2, crop_border, input_order, test_y_channel
        )
    )
    error = float(np.mean((restored - truth) ** 2))
    factors = [
        blocking_effect(channel, block_size, crop_border) for channel in np.moveaxis(restored, 2, 0)
    ]
    error += float(np.mean(factors))
    return 10 * math.log10(255**2 / error) if error else math.inf


declares(calculate_psnrb, PsnrbOptions)


def blocking_effect(image: NDArray[np.float64], block_size: int = 8, offset: int = 0) -> float:
    """Returns the blocking effect factor of one channel ``(H, W)``.

    Args:
        image: the channel.
        block_size: side of the blocks.
        offset: pixels of the grid that lie before the first row and column (those cut off).
    """
    across, within = [], []
    for axis in (0, 1):
        steps = np.diff(image, axis=axis) ** 2
        # Step i lies between pixels i and i + 1.
        border = (np.arange(steps.shape[axis]) + offset + 1) % block_size == 0
        across.append(steps.compress(border, axis=axis).ravel())
        within.append(steps.compress(~border, axis=axis).ravel())
    across_blocks, within_blocks = np.concatenate(across), np.concatenate(within)
    if not across_blocks.size or not within_blocks.size:
        return 0.0
    excess = float(across_blocks.mean() - within_blocks.mean())
    if excess <= 0:
        return 0.0
    return excess * math.log2(block_size) / math.log2(min(image.shape))
