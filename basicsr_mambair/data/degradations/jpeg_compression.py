"""JPEG artifacts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from basicsr_mambair.data.degradations.codec import Codec
from basicsr_mambair.data.degradations.registry import register_degradation
from mambair.imaging.jpeg import jpeg


@register_degradation("jpeg")
class JpegCompression(Codec):
    """JPEG compression and decompression by OpenCV (libjpeg, 4:2:0); the result is uint8.

    Args:
        quality: libjpeg quality from 1 to 100, or the range ``[low, high]`` to draw it from.
    """

    @staticmethod
    def compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
        return jpeg(image, quality)
