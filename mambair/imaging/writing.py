"""Writing pictures: depth, alpha and gray are kept where the format can hold them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mambair.atomic import write_atomically
from mambair.imaging import png
from mambair.imaging.errors import PictureError
from mambair.imaging.pixels import Pixels, to_eight_bits
from mambair.imaging.transparency import lay_on_white

# Quality of the lossy formats: little is lost.
_QUALITY = {".jpg": 95, ".jpeg": 95, ".webp": 95}
_DEEP = (".png", ".tif", ".tiff")  # formats that hold 16 bits
_ALPHA = (".png", ".tif", ".tiff", ".webp")  # formats that hold alpha


def write_image(image: Pixels, path: str | os.PathLike[str]) -> None:
    """Writes a picture; the file is either its old self or complete.

    JPEG and WebP are written at quality 95. Pixels that the format cannot hold are converted:
    16 bits to 8, alpha laid on white.

    Args:
        image: as from :func:`read_image`.
        path: its extension names the format; the folder is created.

    Raises:
        PictureError: unknown format, or it cannot be written.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension not in _DEEP:
        image = to_eight_bits(image)
    if image.ndim == 3 and image.shape[2] in (2, 4) and extension not in _ALPHA:
        image = lay_on_white(image)
    if image.ndim == 3 and image.shape[2] == 2:
        if extension == ".png":
            write_bytes(png.encode_gray_alpha(image), path)
            return
        if image.dtype == np.uint8 and extension != ".webp":
            encoded = _encode_with_pillow(image, extension)
            write_bytes(encoded, path)
            return
        image = image[..., [0, 0, 0, 1]]  # no encoder here supports gray and alpha of 16 bits
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
        ValueError: OpenCV does not support the format, or cannot write such pixels in it.
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


def write_bytes(content: bytes, path: str | os.PathLike[str]) -> None:
    """Writes a file that is either its old self or complete; its folder is created.

    Raises:
        PictureError: it cannot be written; names it.
    """
    try:
        write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise PictureError(f"{path}: cannot be written: {error.strerror or error}") from error
