"""Reading and writing the pictures of users: depth, alpha and gray are kept."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from basicsr_mambair.data.degradations import Pixels
from basicsr_mambair.data.pictures import PictureError, is_complete

# Little is lost where a format must lose something.
_QUALITY = {".jpg": 95, ".jpeg": 95, ".webp": 95}
_DEEP = (".png", ".tif", ".tiff")  # formats that hold 16 bits
_ALPHA = (".png", ".tif", ".tiff", ".webp")  # formats that hold alpha


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
            return picture.mode == "LA"
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


def write_image(image: Pixels, path: str | os.PathLike[str]) -> None:
    """Writes a picture; the file is either its old self or complete.

    JPEG and WebP are written at quality 95. What the format cannot hold is converted: 16 bits to 8,
    alpha dropped.

    Args:
        image: as from :func:`read_image`.
        path: its extension names the format; the folder is created.

    Raises:
        PictureError: unknown format, or it cannot be written.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if image.dtype == np.uint16 and extension not in _DEEP:
        image = np.rint(image / 257.0).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] in (2, 4) and extension not in _ALPHA:
        image = image[..., :-1]
    if image.ndim == 3 and image.shape[2] == 2:
        if image.dtype == np.uint8 and extension != ".webp":
            encoded = _encode_with_pillow(image, extension)
            write_bytes(encoded, path)
            return
        image = image[..., [0, 0, 0, 1]]  # no encoder here knows gray and alpha of 16 bits
    try:
        content = encode_image(image, extension)
    except ValueError as error:
        raise PictureError(f"{path}: {error}") from error
    write_bytes(content, path)


def encode_image(image: Pixels, extension: str) -> bytes:
    """The file of a picture that the format can hold.

    Args:
        image: uint8 or uint16, gray, BGR or BGRA.
        extension: ``.png``, ``.jpg``, …

    Raises:
        ValueError: OpenCV does not know the format, or cannot write such pixels in it.
    """
    parameters = []
    if extension in _QUALITY:
        flag = cv2.IMWRITE_WEBP_QUALITY if extension == ".webp" else cv2.IMWRITE_JPEG_QUALITY
        parameters = [flag, _QUALITY[extension]]
    try:
        ok, encoded = cv2.imencode(extension, image, parameters)
    except cv2.error as error:
        raise ValueError(f"pictures cannot be written as {extension!r}") from error
    if not ok:
        raise ValueError(f"OpenCV could not encode {image.shape} as {extension!r}")
    return encoded.tobytes()


def _encode_with_pillow(image: Pixels, extension: str) -> bytes:
    """Gray with alpha, which OpenCV cannot write."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))  # two channels: mode LA
    picture.save(buffer, format="PNG" if extension == ".png" else "TIFF")
    return buffer.getvalue()


def write_bytes(content: bytes, path: Path) -> None:
    """Writes a file that is either its old self or complete; its folder is created.

    Raises:
        PictureError: it cannot be written; names it.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise PictureError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
