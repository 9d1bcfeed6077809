"""WebP artifacts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr_mambair.data.degradations.codec import Codec
from basicsr_mambair.data.degradations.registry import register_degradation

LARGEST_SIDE = 16383
"""The largest side that the format can hold."""


@register_degradation("webp")
class WebpCompression(Codec):
    """Lossy WebP compression and decompression by OpenCV (libwebp, 4:2:0); the result is uint8.

    Args:
        quality: libwebp quality from 1 to 100, or the range ``[low, high]`` to draw it from.
    """

    # Blocks are predicted from their neighbors, up to the corner of the picture.
    crops_exactly = False

    @staticmethod
    def compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
        height, width, channels = image.shape
        if max(height, width) > LARGEST_SIDE:
            raise ValueError(f"WebP: {width}×{height} pixels; no side may exceed {LARGEST_SIDE}")
        ok, encoded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])
        if not ok:
            raise ValueError(f"OpenCV could not encode a WebP of {image.shape}")
        mode = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
        return np.asarray(cv2.imdecode(encoded, mode), np.uint8).reshape(image.shape)
