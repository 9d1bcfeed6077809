"""Repairs of picture handling."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np

from basicsr_mambair.repairs.repair import repair, replace, source_has
from mambair.imaging.writing import write_bytes


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


@repair(
    "cv2.imwrite ends the process by a segmentation fault for a name that is not text",
    thread="basicsr/utils/img_util.py, imwrite",
)
def names_of_results() -> bool:
    """Encodes by OpenCV, and leaves the file to Python, which takes every name."""
    from basicsr.utils import img_util

    if not source_has(img_util.imwrite, "cv2.imwrite(file_path, img, params)"):
        return False

    def imwrite(img: Any, file_path: str, params: Any = None, auto_mkdir: bool = True) -> None:
        folder, name = os.path.split(os.path.abspath(file_path))
        if auto_mkdir:
            os.makedirs(folder, exist_ok=True)
        ok, encoded = cv2.imencode(os.path.splitext(name)[1], img, params or [])
        if not ok:
            raise OSError(f"{file_path}: OpenCV could not encode it")
        write_bytes(encoded.tobytes(), file_path)

    replace(img_util, "imwrite", imwrite)
    return True
