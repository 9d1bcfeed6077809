"""What else may stand in a folder under the name of a picture, and pictures of unusual sizes."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mambair.imaging.metadata import Metadata
from mambair.imaging.picture_file import PictureFile, write_picture_file


def write_picture(path: Path, height: int = 24, width: int = 24) -> None:
    """Writes a picture of noise."""
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    write_picture_file(PictureFile([pixels], Metadata()), path)


def bomb(width: int, height: int) -> bytes:
    """A PNG of one color, valid but for its length, that claims many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10**6))
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def _float(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.ones((9, 9), np.float32))


def _cut(path: Path) -> None:
    write_picture(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _pages(path: Path) -> None:
    page = np.zeros((9, 9, 3), np.uint8)
    write_picture_file(PictureFile([page, page[:5]], Metadata()), path)


def _renamed(path: Path) -> None:
    write_picture(path.with_suffix(".jpg"))
    path.with_suffix(".jpg").rename(path)


def _closed(path: Path) -> None:
    write_picture(path)
    path.chmod(0)


#: By what it is: the name of the file, and how it is made.
ENTRIES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a pipe": ("pipe.png", os.mkfifo),
    "a socket": ("socket.png", _socket),
    "a device without end": ("zero.png", lambda path: path.symlink_to("/dev/zero")),
    "a link to itself": ("loop.png", lambda path: path.symlink_to(path.name)),
    "a link to nowhere": ("gone.png", lambda path: path.symlink_to("nowhere.png")),
    "a folder": ("folder.png", Path.mkdir),
    "an empty file": ("empty.png", Path.touch),
    "text": ("text.png", lambda path: path.write_text("no picture")),
    "a picture cut off": ("cut.png", _cut),
    "a bomb": ("bomb.png", lambda path: path.write_bytes(bomb(60_000, 60_000))),
    "floats": ("float.tif", _float),
    "pages of several sizes": ("pages.tif", _pages),
    "no permission": ("closed.png", _closed),
    "the name of another format": ("jpeg.png", _renamed),
    "a line break in the name": ("two\nlines.png", write_picture),
    "bytes that are no text in the name": (os.fsdecode(b"caf\xe9.png"), write_picture),
    "a pattern as name": ("{}[a]*?.png", write_picture),
    "signs of a shell in the name": ("-rf $(x) `y` 'z' %s.png", write_picture),
}
#: Height and width of the smallest pictures, by what they are.
SIZES = {"one pixel": (1, 1), "one row": (1, 40), "one column": (40, 1)}
