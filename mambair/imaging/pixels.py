"""Pixels in memory, and conversions between their depths and colors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]


def to_float(image: Pixels) -> NDArray[np.float32]:
    """Pixels as float32 in [0, 1]."""
    return image.astype(np.float32) / 255.0 if image.dtype == np.uint8 else image


def to_uint8(image: Pixels) -> NDArray[np.uint8]:
    """Pixels as uint8, clipped and rounded half to even."""
    if image.dtype == np.uint8:
        return image
    rounded: NDArray[np.uint8] = (image.clip(0, 1) * 255.0).round().astype(np.uint8)
    return rounded


def to_eight_bits(image: Pixels) -> Pixels:
    """uint16 pixels as uint8, rounded; uint8 pixels as they are."""
    if image.dtype != np.uint16:
        return image
    return np.rint(image / 257.0).astype(np.uint8)


def luminance(image: Pixels) -> Pixels:
    """Y of BT.601 in [16, 235]/255, ``(H, W, 1)``, of float BGR in [0, 1]; gray stays as it is."""
    if image.shape[2] == 1:
        return image
    weights = np.array([24.966, 128.553, 65.481], np.float32) / 255.0
    y: Pixels = image @ weights + np.float32(16.0 / 255.0)
    return y[..., None]


def swap_order(image: Pixels) -> Pixels:
    """RGB to BGR and back; alpha stays last, gray stays as it is."""
    if image.ndim == 2 or image.shape[2] < 3:
        return image
    return image[..., [2, 1, 0, 3][: image.shape[2]]]


def turn_upright(image: Pixels, orientation: int) -> Pixels:
    """Turns ``(H, W[, C])`` as an EXIF orientation (1 to 8) says, so that it stands upright."""
    if orientation in (5, 6, 7, 8):
        image = np.swapaxes(image, 0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
