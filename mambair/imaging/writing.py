"""Writing pictures: depth, alpha and gray are kept where the format can hold them."""

from __future__ import annotations

import os

from mambair.atomic import write_atomically
from mambair.imaging.encoding import encode_frames
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS_BY_EXTENSION, format_of
from mambair.imaging.pixels import Pixels


def write_image(image: Pixels, path: str | os.PathLike[str]) -> None:
    """Writes a picture; the file is either its old self or complete.

    JPEG and WebP are written at quality 95. Pixels that the format cannot hold are converted:
    16 bits to 8, alpha laid on white.

    Args:
        image: as from :func:`mambair.imaging.reading.read_image`.
        path: its extension names the format; the folder is created.

    Raises:
        PictureError: unknown format, or it cannot be written.
    """
    form = format_of(path)
    try:
        content, _ = encode_frames([image], form)
    except ValueError as error:
        raise PictureError(f"{os.fspath(path)}: {error}") from error
    write_bytes(content, path)


def encode_image(image: Pixels, extension: str) -> bytes:
    """The file of a picture.

    Args:
        image: as from :func:`mambair.imaging.reading.read_image`.
        extension: ``.png``, ``.jpg``, …

    Raises:
        ValueError: the format is not known, or cannot hold such a picture.
    """
    form = FORMATS_BY_EXTENSION.get(extension)
    if form is None:
        raise ValueError(f"pictures cannot be written as {extension!r}")
    return encode_frames([image], form)[0]


def write_bytes(content: bytes, path: str | os.PathLike[str]) -> None:
    """Writes a file that is either its old self or complete; its folder is created.

    Raises:
        PictureError: it cannot be written; names it.
    """
    try:
        write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise PictureError(f"{path}: cannot be written: {error.strerror or error}") from error
