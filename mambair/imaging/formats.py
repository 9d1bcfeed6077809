"""What the formats of picture files can hold; the one place where formats are listed."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mambair.imaging.errors import PictureError

Frames = Literal["one", "pages", "animation"]


@dataclass(frozen=True)
class Format:
    """A format of picture files, as far as it is read and written here.

    Attributes:
        name: its name, as in ``--format``.
        extensions: in lower case, the usual one first.
        pillow: its name in Pillow.
        max_side: the most pixels that a side of it can have.
        deep: holds 16 bits.
        alpha: holds transparency.
        gray: holds pictures of one channel.
        icc: holds color profiles.
        exif: holds EXIF.
        xmp: holds XMP.
        iptc: holds IPTC.
        dpi: holds the resolution in dots per inch.
        frames: what it can hold several of.
        package: the package that Pillow needs for it.
    """

    name: str
    extensions: tuple[str, ...]
    pillow: str
    max_side: int
    deep: bool = False
    alpha: bool = True
    gray: bool = True
    icc: bool = True
    exif: bool = True
    xmp: bool = True
    iptc: bool = False
    dpi: bool = False
    frames: Frames = "one"
    package: str | None = None

    @property
    def is_available(self) -> bool:
        """Returns whether the package that the format needs is installed."""
        return self.package is None or importlib.util.find_spec(self.package) is not None


_LARGEST = 2**31 - 1
HEIC = Format("heic", (".heic", ".heif"), "HEIF", 65535, gray=False, package="pillow_heif")
FORMATS = (
    Format("png", (".png", ".apng"), "PNG", _LARGEST, deep=True, dpi=True, frames="animation"),
    Format(
        "jpg", (".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG",
        65500,  # libjpeg's JPEG_MAX_DIMENSION
        alpha=False, iptc=True, dpi=True,
    ),
    Format("webp", (".webp",), "WEBP", 16383, gray=False, frames="animation"),
    Format(
        "tif", (".tif", ".tiff"), "TIFF", _LARGEST,
        deep=True, iptc=True, dpi=True, frames="pages",
    ),
    Format(
        "bmp", (".bmp",), "BMP", _LARGEST,
        alpha=False, icc=False, exif=False, xmp=False, dpi=True,
    ),
    Format("avif", (".avif",), "AVIF", 65536, gray=False, frames="animation"),
    Format(
        "gif", (".gif",), "GIF", 65535,
        icc=False, exif=False, xmp=False, frames="animation",
    ),
    HEIC,
)  # fmt: skip
FORMATS_BY_EXTENSION = {extension: each for each in FORMATS for extension in each.extensions}


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that the extension of a file names.

    Raises:
        PictureError: it names none, or one that needs a package which is not installed.
    """
    extension = Path(path).suffix.lower()
    found = FORMATS_BY_EXTENSION.get(extension)
    if found is None:
        known = ", ".join(each.name for each in FORMATS)
        raise PictureError(
            f"{os.fspath(path)}: pictures cannot be written as {extension!r}; formats are {known}"
        )
    if not found.is_available:
        raise PictureError(f"{os.fspath(path)}: {needs_package(found)}")
    return found


def needs_package(form: Format) -> str:
    """Returns what to install for a format."""
    return f"{form.name.upper()} needs a package: pip install 'basicsr-mambair[{form.name}]'"


def readable_extensions() -> tuple[str, ...]:
    """The extensions of the files that can be read here, with the packages that are installed."""
    return tuple(each for each, form in FORMATS_BY_EXTENSION.items() if form.is_available)
