"""The chunks of a PNG file: transparency that decoders drop, and metadata behind the pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from mambair.imaging.pixels import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # color types of the header
_PIXELS = (b"IDAT", b"fdAT")


@dataclass(frozen=True)
class Header:
    """What a PNG says about its pixels.

    Attributes:
        depth: bits of a sample: 1, 2, 4, 8 or 16.
        color_type: one of the constants of this module.
        transparent: the contents of its ``tRNS`` chunk, if it has one.
    """

    depth: int
    color_type: int
    transparent: bytes | None


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of every chunk but those of pixels, up to the first that is cut off."""
    end = file.seek(0, io.SEEK_END)
    at = file.seek(len(SIGNATURE))
    while at + 12 <= end:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        at += 12 + length
        if kind not in _PIXELS and at <= end:
            yield kind, file.read(length)


def read_header(file: BinaryIO) -> Header | None:
    """The header of a PNG; ``None`` if the file does not begin with one."""
    found = iter(chunks(file))
    kind, data = next(found, (b"", b""))
    if kind != b"IHDR" or len(data) != 13:
        return None
    transparent = next((data for kind, data in found if kind == b"tRNS"), None)
    return Header(data[8], data[9], transparent)


def without_pixels(file: BinaryIO) -> BinaryIO:
    """The file without its pixels: Pillow reads all metadata of it, and decodes nothing.

    Metadata may stand behind the pixels, where Pillow finds them only after decoding the picture.
    """
    return io.BytesIO(SIGNATURE + b"".join(_chunk(*each) for each in chunks(file)))


def with_alpha_of_key(image: Pixels, header: Header) -> Pixels:
    """Adds the alpha of a PNG that declares one gray value or color transparent (``tRNS``).

    Args:
        image: ``(H, W)`` gray or ``(H, W, 3)`` BGR as decoded, of 8 or 16 bits.
        header: of the same file.

    Returns:
        ``(H, W, 2)`` or ``(H, W, 4)``; the picture as it is if the file declares nothing of it.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    expected = {GRAY: 1, RGB: 3}.get(header.color_type)
    if header.transparent is None or channels != expected:
        return image
    if len(header.transparent) != 2 * channels:
        return image  # damaged; decoders ignore it too
    key = np.frombuffer(header.transparent, ">u2")[::-1].astype(np.int64)  # BGR
    top = np.iinfo(image.dtype).max
    # Decoders spread 1, 2 and 4 bits over 8.
    key = (key & (2**header.depth - 1)) * (top // (2**header.depth - 1))
    transparent = (image.reshape(*image.shape[:2], channels) == key).all(axis=2)
    return np.dstack([image, np.where(transparent, 0, top).astype(image.dtype)])


def encode_gray_alpha(image: Pixels) -> bytes:
    """The file of uint8 or uint16 ``(H, W, 2)`` gray and alpha.

    OpenCV has no such pictures, and Pillow none of 16 bits.
    """
    height, width = image.shape[:2]
    depth = 8 * image.dtype.itemsize
    samples = image.astype(image.dtype.newbyteorder(">")).reshape(height, -1)
    lines = samples.view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + lines.shape[1]), np.uint8)
    filtered[:, 0] = 2  # "Up": the difference from the line above
    filtered[:, 1:] = np.diff(lines, axis=0, prepend=np.zeros((1, lines.shape[1]), np.uint8))
    header = struct.pack(">IIBBBBB", width, height, depth, GRAY_ALPHA, 0, 0, 0)
    content = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(filtered.tobytes()))
    return SIGNATURE + content + _chunk(b"IEND", b"")


def insert(content: bytes, added: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with further chunks behind its header, where those of color profiles must stand."""
    end = len(SIGNATURE) + 12 + 13
    return content[:end] + b"".join(_chunk(*each) for each in added) + content[end:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
