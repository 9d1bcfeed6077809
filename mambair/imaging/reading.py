"""Reading pictures: their size from the header, their pixels for training or for restoring."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair.imaging.errors import PictureError
from mambair.imaging.pixels import Pixels

_ORIENTATION = 0x0112  # EXIF; from 5 on the picture lies on its side
_FIRST_ON_ITS_SIDE = 5


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width as it will be decoded (upright), from the header alone.

    Raises:
        PictureError: it is not a picture.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            # Pillow decodes a whole PNG to look for EXIF data behind its pixels.
            has_exif = picture.format != "PNG" or "exif" in picture.info
            orientation = picture.getexif().get(_ORIENTATION, 1) if has_exif else 1
            on_its_side = orientation >= _FIRST_ON_ITS_SIDE
    except Image.DecompressionBombError:  # Pillow's limit, not ours
        return decode_picture(Path(path).read_bytes(), os.fspath(path)).shape[:2]
    except OSError as error:
        raise PictureError(f"{os.fspath(path)}: not a readable picture: {error}") from error
    return (width, height) if on_its_side else (height, width)


def decode_picture(
    content: bytes | memoryview | None, name: str, *, gray: bool = False
) -> NDArray[np.uint8]:
    """Decodes 8-bit pixels as OpenCV does.

    Args:
        content: the bytes of the file; ``None`` if its store has no such entry.
        name: name of the picture in errors.
        gray: read as gray (``cv2.IMREAD_GRAYSCALE``); BGR otherwise.

    Returns:
        uint8 ``(H, W, 1)`` or ``(H, W, 3)`` BGR.

    Raises:
        PictureError: missing, damaged or truncated.
    """
    if content is None:
        raise PictureError(f"{name}: there is no such entry")
    pixels = None
    if len(content) and is_complete(content):
        flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
        try:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        except cv2.error:
            pixels = None
    if pixels is None:
        raise PictureError(f"{name}: not a readable picture (damaged or truncated?)")
    decoded = np.asarray(pixels, np.uint8)
    return decoded[..., None] if decoded.ndim == 2 else decoded


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """Reads a picture, upright (EXIF orientation is applied).

    Returns:
        uint8 or uint16, ``(H, W)`` gray, ``(H, W, 2)`` gray and alpha, ``(H, W, 3)`` BGR or
        ``(H, W, 4)`` BGRA.

    Raises:
        PictureError: missing, damaged, or of another depth; names the file.
    """
    try:
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror}") from error
    image = _decode(content, cv2.IMREAD_UNCHANGED)
    if image is not None and _is_gray_with_alpha(path):
        return _gray_with_alpha(image, path)
    if image is not None and not (image.ndim == 3 and image.shape[2] == 4):
        # This flag drops alpha but, unlike IMREAD_UNCHANGED, turns the picture upright.
        image = _decode(content, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise PictureError(f"{path}: not a readable picture (damaged, or of an unknown format)")
    if image.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"{path}: pixels are {image.dtype}; 8 or 16 bits are supported")
    return image


def _is_gray_with_alpha(path: str | os.PathLike[str]) -> bool:
    try:
        with Image.open(path) as picture:
            return bool(picture.mode == "LA")
    except (OSError, Image.DecompressionBombError):
        return False


def _gray_with_alpha(image: Pixels, path: str | os.PathLike[str]) -> Pixels:
    """``(H, W, 2)``: OpenCV reads such a PNG as BGRA, and drops the alpha of such a TIFF."""
    if image.ndim == 3 and image.shape[2] == 4:
        return np.ascontiguousarray(image[..., [0, 3]])
    with Image.open(path) as picture:
        return np.asarray(picture)


def _decode(content: NDArray[np.uint8], flags: int) -> Pixels | None:
    if content.size == 0 or not is_complete(content):
        return None
    try:
        return cv2.imdecode(content, flags)
    except cv2.error:
        return None


def is_complete(content: bytes | memoryview | NDArray[np.uint8]) -> bool:
    """False for a PNG or JPEG without its end marker, which OpenCV 4 fills up with gray."""
    content = bytes(content)
    if content.startswith(b"\x89PNG"):
        return b"IEND" in content
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in content[_start_of_scan(content) :]
    return True


def _start_of_scan(content: bytes) -> int:
    """Position of a JPEG's pixels; headers may hold a thumbnail with its own end marker."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at
