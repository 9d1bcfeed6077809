"""Pillow's pictures as arrays: any mode, with its transparency, upright."""

from __future__ import annotations

import threading
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS
from mambair.imaging.pixels import Pixels

_limit = threading.Lock()


def open_picture(file: BinaryIO) -> Image.Image | None:
    """Opens a file of one of the formats known here; decodes nothing.

    Pillow refuses pictures of more than 179 million pixels as decompression bombs; scans and
    panoramas have more. The limit here is that of :mod:`mambair.imaging.reading`.

    Args:
        file: stays in use as long as the picture.

    Returns:
        ``None`` if Pillow cannot read it.
    """
    file.seek(4)
    if file.read(4) == b"ftyp":
        register_heif()
    file.seek(0)
    with _limit:  # Pillow has one limit for the whole process
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=_formats())
        except Exception:  # decoders raise all kinds of errors on damaged headers
            return None
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _formats() -> list[str]:
    return [*(each.pillow for each in FORMATS if each.is_available), "MPO"]


def register_heif() -> None:
    """Makes Pillow read and write HEIC, if pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def pixels_of_pillow(picture: Image.Image) -> Pixels:
    """Pixels of a picture; palettes and the like become RGB, transparency becomes alpha.

    Args:
        picture: of any mode; CMYK becomes RGB by Pillow's formula.

    Returns:
        uint8, uint16 or float32: ``(H, W)`` gray, ``(H, W, 2)`` gray and alpha, ``(H, W, 3)`` RGB
        or ``(H, W, 4)`` RGB and alpha.

    Raises:
        PictureError: integers beyond 16 bits.
    """
    mode = picture.mode
    if mode.startswith("I"):
        return _deep_pixels(picture)
    if mode == "F":
        return np.asarray(picture)
    has_alpha = picture.has_transparency_data
    if mode in ("1", "L", "LA"):
        wanted = "LA" if has_alpha else "L"
    else:
        wanted = "RGBA" if has_alpha else "RGB"
    if picture.mode != wanted:
        picture = picture.convert(wanted)
    return np.asarray(picture)


def _deep_pixels(picture: Image.Image) -> Pixels:
    """Pixels of ``I;16`` and its kin, and of ``I``, into which some readers put 16 bits."""
    values = np.asarray(picture)
    if values.size and (values.min() < 0 or values.max() > np.iinfo(np.uint16).max):
        raise PictureError("integers beyond 16 bits are not supported")
    gray = values.astype(np.uint16)
    key = picture.info.get("transparency")
    if not isinstance(key, int):
        return gray
    return np.dstack([gray, np.where(gray == key, 0, np.iinfo(np.uint16).max).astype(np.uint16)])


def exif_of(picture: Image.Image) -> Image.Exif:
    """The EXIF of an open picture; decodes nothing, as Pillow's own does for a PNG.

    Raises:
        Exception: of any kind, if it is damaged.
    """
    return Image.Image.getexif(picture) if picture.format == "PNG" else picture.getexif()


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; as it is if its EXIF is damaged."""
    picture.load()  # damaged pixels are an error; what the next lines ignore is EXIF alone
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF raises all kinds of errors
        return picture


def pillow_of_pixels(image: Pixels) -> Image.Image:
    """A picture of an array that :func:`pixels_of_pillow` could have made."""
    contiguous: Any = np.ascontiguousarray(image)
    return Image.fromarray(contiguous)
