"""Finding and decoding pictures; every error names the file."""

from __future__ import annotations

import fnmatch
import importlib.resources
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
PACKAGE_SCHEME = "pkg://"
_ORIENTATION = 0x0112  # EXIF; from 5 on the picture lies on its side
_FIRST_ON_ITS_SIDE = 5


class PictureError(ValueError):
    """A picture is missing or cannot be decoded; the message names it."""


def resolve_root(root: str | os.PathLike[str]) -> Path:
    """A file or folder on disk; ``pkg://package/folder`` is one inside an installed package.

    Raises:
        PictureError: it does not exist.
    """
    text = os.fspath(root)
    if not text.startswith(PACKAGE_SCHEME):
        path = Path(text).expanduser()
        if not path.exists():
            raise PictureError(f"{text}: there is no such file or folder")
        return path
    package, _, inside = text.removeprefix(PACKAGE_SCHEME).partition("/")
    try:
        path = Path(str(importlib.resources.files(package).joinpath(inside)))
    except ModuleNotFoundError as error:
        raise PictureError(f"{text}: package {package!r} is not installed") from error
    if not path.exists():
        raise PictureError(f"{text}: package {package!r} holds no {inside!r}")
    return path


def list_pictures(
    root: str | os.PathLike[str],
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
) -> list[Path]:
    """Pictures directly inside a folder, sorted by name.

    Args:
        root: folder, or ``pkg://package/folder``.
        include: glob patterns of file names, of which one must match.
        exclude: glob patterns of which none may match.

    Raises:
        PictureError: no such folder, a pattern of ``include`` that names nothing, or no picture.
    """
    folder = resolve_root(root)
    if not folder.is_dir():
        raise PictureError(f"{root}: is not a folder")
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_file() and entry.name.lower().endswith(EXTENSIONS)
        if not entry.name.startswith(".")
    )
    for pattern in include:
        if not fnmatch.filter(names, pattern):
            raise PictureError(f"{root}: no picture in this folder is named {pattern!r}")
    chosen = [name for name in names if _matches(name, include) and not _matches(name, exclude)]
    if not chosen:
        raise PictureError(f"{root}: no picture in this folder ({', '.join(EXTENSIONS)})")
    return [folder / name for name in chosen]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width as it will be decoded (upright), from the header alone.

    Raises:
        PictureError: it is no picture.
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
        name: what to call it in an error.
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


def is_complete(content: bytes | memoryview | NDArray[np.uint8]) -> bool:
    """False for a PNG or JPEG without its end marker, which OpenCV 4 fills up with gray."""
    content = bytes(content)
    if content.startswith(b"\x89PNG"):
        return b"IEND" in content
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in content[_start_of_scan(content) :]
    return True


def _start_of_scan(content: bytes) -> int:
    """Where a JPEG's pixels begin; headers may hold a thumbnail with an end marker of its own."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at
