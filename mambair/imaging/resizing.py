"""Resizing pictures: MATLAB's bicubic ``imresize``, enlarging by repeated pixels, cropping."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from mambair.imaging.pixels import Pixels

_CUBIC_SUPPORT = 4.0  # taps of the interpolating kernel at scale 1


def imresize(image: Pixels, scale: float) -> Pixels:
    """MATLAB's ``imresize(image, scale)`` (bicubic, antialiased when it shrinks).

    On uint8 it is bit-exact: like MATLAB it rounds to integers after the pass over the rows and
    again after the pass over the columns. Keys' cubic kernel with a = −0.5, widened by 1/scale when
    it shrinks, mirrored (with the edge pixel) at the borders.

    Args:
        image: uint8, uint16 or float ``(H, W)`` or ``(H, W, C)``.
        scale: factor of both sides.

    Returns:
        The same dtype, ``(ceil(scale·H), ceil(scale·W)[, C])``; float is not clamped.
    """
    height, width = image.shape[:2]
    out_height, out_width = math.ceil(height * scale), math.ceil(width * scale)
    # MATLAB begins with the dimension of the smaller scale; they are equal, so with the rows.
    image = _resize_rows(image, out_height, scale)
    swapped = _resize_rows(np.swapaxes(image, 0, 1), out_width, scale)
    return np.ascontiguousarray(np.swapaxes(swapped, 0, 1))


def _resize_rows(image: Pixels, out_length: int, scale: float) -> Pixels:
    indices, weights = _cubic_weights(image.shape[0], out_length, scale)
    result = np.zeros((out_length, *image.shape[1:]), np.float64)
    shape = (-1, *(1,) * (image.ndim - 1))
    for tap in range(indices.shape[1]):
        result += weights[:, tap].reshape(shape) * image[indices[:, tap]]
    if np.issubdtype(image.dtype, np.integer):
        result = np.clip(np.floor(result + 0.5), 0, np.iinfo(image.dtype).max)
    return result.astype(image.dtype)


@lru_cache(maxsize=64)
def _cubic_weights(length: int, out_length: int, scale: float) -> tuple[Pixels, Pixels]:
    """Source indices and weights ``(out_length, taps)`` of one dimension."""
    stretch = min(scale, 1.0)
    support = _CUBIC_SUPPORT / stretch
    # Center of output pixel i in the coordinates of the input, both counted from 1.
    center = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(center - support / 2)
    taps = math.ceil(support) + 2
    positions = left[:, None] + np.arange(taps)
    weights = cubic((center[:, None] - positions) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    # Mirror with the edge pixel: 1 2 … n n … 2 1
    wrapped = np.mod(positions.astype(np.int64) - 1, 2 * length)
    indices = np.where(wrapped < length, wrapped, 2 * length - 1 - wrapped)
    used = np.any(weights != 0, axis=0)
    return indices[:, used], weights[:, used]


def cubic(x: Pixels) -> Pixels:
    """Keys' cubic convolution kernel, a = −0.5 (IEEE TASSP 1981, equation 15)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def repeat_pixels(image: Pixels, factor: int) -> Pixels:
    """Enlarges ``(H, W[, C])`` by showing every pixel as a square of ``factor`` pixels."""
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


def crop_to_multiple(image: Pixels, factor: int) -> Pixels:
    """Cuts ``(H, W[, C])`` at the right and bottom to multiples of ``factor`` ("modcrop")."""
    height, width = (side - side % factor for side in image.shape[:2])
    return image[:height, :width]
