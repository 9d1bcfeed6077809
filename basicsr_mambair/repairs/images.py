"""Repairs of picture handling."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from basicsr_mambair.repairs.repair import repair, replace


@repair("cv2.imencode refuses a float JPEG quality since OpenCV 4.11", thread="BasicSR#578")
def jpeg_quality() -> bool:
    """Rounds the quality that BasicSR draws from a continuous range."""
    options: list[Any] = [cv2.IMWRITE_JPEG_QUALITY, 90.5]
    try:
        cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8), options)
    except (TypeError, cv2.error):
        pass
    else:
        return False
    from basicsr.data import degradations

    original = degradations.add_jpg_compression

    def add_jpg_compression(img: Any, quality: float = 90) -> Any:
        return original(img, round(quality))

    replace(degradations, "add_jpg_compression", add_jpg_compression)
    return True
