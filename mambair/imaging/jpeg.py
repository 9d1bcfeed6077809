"""JPEG compression of pixels by OpenCV (libjpeg; color at 4:2:0)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compresses and decompresses uint8 ``(H, W, 1)`` or ``(H, W, 3)`` BGR."""
    encoded = np.frombuffer(encode_jpeg(image, quality), np.uint8)
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)
    return decoded.reshape(image.shape)


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """The JPEG file of uint8 ``(H, W, 1)`` or ``(H, W, 3)`` BGR; quality from 1 to 100."""
    ok, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not ok:
        raise ValueError(f"OpenCV could not encode a JPEG of {image.shape}")
    return encoded.tobytes()
