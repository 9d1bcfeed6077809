"""WebP artifacts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr_mambair.data.degradations.degradation import Drawn, PictureDegradation, as_range
from basicsr_mambair.data.degradations.registry import register_degradation
from mambair.imaging.pixels import Pixels, to_uint8

LARGEST_SIDE = 16383
"""The largest side that the format can hold."""


@register_degradation("webp")
class WebpCompression(PictureDegradation):
    """Lossy WebP compression and decompression by OpenCV (libwebp, 4:2:0); the result is uint8.

    Args:
        quality: libwebp quality from 1 to 100, or the range ``[low, high]`` to draw it from.
    """

    # Blocks are predicted from their neighbors, up to the corner of the picture.
    crops_exactly = False
    halo = 16
    grid = 16
    examples = ({"quality": 10}, {"quality": [10, 90]})

    def __init__(self, quality: int | Sequence[int]) -> None:
        self.low, self.high = (int(q) for q in as_range(quality, "quality"))
        if not 1 <= self.low <= self.high <= 100:
            raise ValueError(f"quality: must be between 1 and 100, got {quality}")

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"quality": int(rng.integers(self.low, self.high + 1))}

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        return _webp(to_uint8(image), drawn["quality"])


def _webp(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compresses and decompresses uint8 ``(H, W, 1)`` or ``(H, W, 3)`` BGR."""
    if max(image.shape[:2]) > LARGEST_SIDE:
        height, width = image.shape[:2]
        raise ValueError(f"WebP: {width}×{height} pixels; no side may exceed {LARGEST_SIDE}")
    ok, encoded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not ok:
        raise ValueError(f"OpenCV could not encode a WebP of {image.shape}")
    gray = image.shape[2] == 1
    mode = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    return np.asarray(cv2.imdecode(encoded, mode), np.uint8).reshape(image.shape)
