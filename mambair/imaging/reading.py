"""Reading pictures: their size from the header, their pixels for training or for restoring."""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair.imaging import png, tiff
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import HEIC, needs_package
from mambair.imaging.pillow import exif_of, open_picture, upright
from mambair.imaging.pixels import Pixels, swap_order, turn_upright
from mambair.imaging.profiles import pixels_by_profile

_ORIENTATION = 0x0112  # EXIF; from 5 on the picture lies on its side
_FIRST_ON_ITS_SIDE = 5
_MOST_PIXELS = 2**30  # OpenCV decodes no more
# A file is a bomb if its pages or frames together, or one of them, claim more pixels than the first
# figure, and more in each of its bytes than the second. A blank page of one bit a pixel has 8,000
# in a byte, a scan of text 1,000, a blank page in color 300.
_BOMB_TOGETHER = (2**25, 10_000)
_BOMB_ALONE = (2**28, 400)
_OPENCV = ("PNG", "JPEG", "MPO", "WEBP", "BMP")  # what OpenCV decodes; the rest is Pillow's


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The contents of a file.

    Raises:
        PictureError: it cannot be read or is something else (a folder, a pipe, a link in a
            circle); names it.
    """
    with open_file(path) as file:
        return file.read()


@dataclass(frozen=True)
class PictureHeader:
    """What a file says about its picture before anything is decoded.

    Attributes:
        sizes: height and width of every page or frame, as they will be decoded, upright.
        is_paged: they are pages, not frames of an animation.
    """

    sizes: list[tuple[int, int]]
    is_paged: bool

    @property
    def has_more(self) -> bool:
        """Whether there are others after the first, which :func:`read_image` leaves out."""
        return len(self.sizes) > 1


def read_header(path: str | os.PathLike[str]) -> PictureHeader:
    """Reads what a file says about its picture; decodes nothing.

    Raises:
        PictureError: it is not a picture, or one that no memory can hold; names it.
    """
    name = os.fspath(path)
    with open_file(path) as file:
        return _header(file, name)


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width as it will be decoded (upright); decodes nothing.

    Raises:
        PictureError: it is not a picture, or one that no memory can hold; names it.
    """
    with open_file(path) as file:
        return _size(file, os.fspath(path))


@contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file that is one, and not a pipe that would be waited for.

    Raises:
        PictureError: it cannot be read, or is something else; see :func:`read_file`.
    """
    name = os.fspath(path)
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise PictureError(f"{name}: is a folder")
        if not stat.S_ISREG(kind):  # reading a pipe would wait for ever
            raise PictureError(f"{name}: is not a file but a pipe, a socket or a device")
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise PictureError(f"{name}: cannot be read: {error.strerror or error}") from error


def _header(file: BinaryIO, name: str) -> PictureHeader:
    size = _size(file, name)
    if _is_tiff(file):
        header = PictureHeader(tiff.read_sizes(file, name), is_paged=True)
    else:
        picture = open_picture(file)
        assert picture is not None
        header = PictureHeader([size] * count_frames(picture), is_paged=False)
    _refuse_bombs(header.sizes, file, name)
    return header


def _size(file: BinaryIO, name: str) -> tuple[int, int]:
    if not file.seek(0, io.SEEK_END):
        raise PictureError(f"{name}: not a readable picture: the file is empty")
    picture = open_picture(file)
    if picture is not None:
        width, height = picture.size
        if picture.format == "TIFF":  # Pillow knows its upright size
            size = (height, width)
        else:
            on_its_side = orientation_of(file, picture) >= _FIRST_ON_ITS_SIDE
            size = (width, height) if on_its_side else (height, width)
    elif _is_tiff(file):
        size = tiff.read_sizes(file, name)[0]
    elif _is_heic(file) and not HEIC.is_available:
        raise PictureError(f"{name}: {needs_package(HEIC)}")
    else:
        raise PictureError(f"{name}: not a readable picture (damaged, or of an unknown format)")
    _refuse_bombs([size], file, name)
    return size


def _is_heic(file: BinaryIO) -> bool:
    file.seek(4)
    return file.read(8) in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim", b"ftyphevc")


def _is_tiff(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) in tiff.SIGNATURES


def count_frames(picture: Image.Image) -> int:
    """How many frames a picture of Pillow's has that belong together.

    Phones put further pictures into JPEG and HEIC files (depth maps, previews), which do not.
    """
    if picture.format in ("MPO", "HEIF"):
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:  # damaged behind the first frame; decoding will say so
        return 1


def _refuse_bombs(sizes: list[tuple[int, int]], file: BinaryIO, name: str) -> None:
    length = file.seek(0, io.SEEK_END)
    pixels = sum(height * width for height, width in sizes)
    height, width = max(sizes, key=math.prod)
    if any(
        claimed > max(least, dense * length)
        for claimed, (least, dense) in ((pixels, _BOMB_TOGETHER), (height * width, _BOMB_ALONE))
    ):
        times = f"{len(sizes)} times " if len(sizes) > 1 else ""
        raise PictureError(
            f"{name}: claims {times}{width}×{height} pixels in {length} bytes; refused as a "
            "decompression bomb"
        )
    if height * width > _MOST_PIXELS:
        raise PictureError(
            f"{name}: {width}×{height} pixels are more than the {_MOST_PIXELS} that can be "
            "decoded; cut it into parts"
        )


def orientation_of(file: BinaryIO, picture: Image.Image) -> int:
    """The EXIF orientation of an open picture, 1 to 8; 1 if it says nothing."""
    if picture.format == "PNG":
        picture = open_picture(png.without_pixels(file)) or picture
    try:
        found = int(exif_of(picture).get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF raises all kinds of errors
        return 1
    return found if 1 <= found <= 8 else 1


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
    flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    pixels = _decode(content, flag) if len(content) else None
    if pixels is None:
        raise PictureError(f"{name}: not a readable picture (damaged or truncated?)")
    decoded = np.asarray(pixels, np.uint8)
    return decoded[..., None] if decoded.ndim == 2 else decoded


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """Reads a picture, upright (EXIF orientation is applied); of several frames, the first.

    Returns:
        uint8 or uint16, ``(H, W)`` gray, ``(H, W, 2)`` gray and alpha, ``(H, W, 3)`` BGR or
        ``(H, W, 4)`` BGRA.

    Raises:
        PictureError: missing, damaged, or of another depth; names the file.
    """
    return read_frames(read_file(path), os.fspath(path), first_only=True)[0]


def read_frames(content: bytes, name: str, first_only: bool = False) -> list[Pixels]:
    """Reads the pages or frames of a file, upright.

    Args:
        content: the file.
        name: its name, for messages.
        first_only: read the first alone.

    Returns:
        Arrays as from :func:`read_image`; those of an animation have one shape.

    Raises:
        PictureError: damaged, or of a depth that is not supported; names the file.
    """
    file = io.BytesIO(content)
    if first_only:
        _size(file, name)
    else:
        _header(file, name)
    if content.startswith(tiff.SIGNATURES):
        return tiff.read_pages(file, name, first_only)
    picture = open_picture(file)
    assert picture is not None
    single = first_only or count_frames(picture) == 1
    try:
        if single and picture.format in _OPENCV and picture.mode != "CMYK":
            return [_read_with_opencv(content, file, picture)]
        if not is_complete(content):
            raise PictureError("not a readable picture (damaged or truncated?)")
        return _alike([swap_order(each) for each in _pillow_frames(picture, file, single)])
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise PictureError(f"{name}: not a readable picture (damaged or truncated?)") from error


def _read_with_opencv(content: bytes, file: BinaryIO, picture: Image.Image) -> Pixels:
    image = _decode(content, cv2.IMREAD_UNCHANGED)  # not turned, unlike with the other flags
    if image is None:
        raise PictureError("not a readable picture (damaged or truncated?)")
    header = png.read_header(file) if picture.format == "PNG" else None
    if header is not None and header.color_type == png.GRAY_ALPHA:
        image = image[..., [0, 3]]
    elif header is not None:
        image = png.with_alpha_of_key(image, header)
    elif image.ndim == 3 and image.shape[2] == 4 and picture.mode in ("L", "P", "RGB"):
        image = image[..., :3]  # the fourth byte of a BMP's pixel need not be alpha
    return turn_upright(image, orientation_of(file, picture))


def _pillow_frames(picture: Image.Image, file: BinaryIO, single: bool) -> Iterator[Pixels]:
    header = png.read_header(file) if picture.format == "PNG" else None
    if header is not None and header.depth == 16:
        raise PictureError("animations of 16 bits are not supported")
    for index in range(1 if single else count_frames(picture)):
        picture.seek(index)
        yield pixels_by_profile(upright(picture))


def _alike(frames: list[Pixels]) -> list[Pixels]:
    """Frames of one shape: one that has color or alpha gives it to all."""
    channels = [1 if each.ndim == 2 else each.shape[2] for each in frames]
    if len(set(channels)) == 1:
        return frames
    has_color, has_alpha = max(channels) > 2, any(each in (2, 4) for each in channels)
    return [_with_channels(each, has_color, has_alpha) for each in frames]


def _with_channels(image: Pixels, has_color: bool, has_alpha: bool) -> Pixels:
    image = np.atleast_3d(image)
    color, alpha = image, np.full((*image.shape[:2], 1), np.iinfo(image.dtype).max, image.dtype)
    if image.shape[2] in (2, 4):
        color, alpha = image[..., :-1], image[..., -1:]
    if has_color and color.shape[2] == 1:
        color = np.repeat(color, 3, axis=2)
    return np.concatenate([color, alpha], axis=2) if has_alpha else color


def _decode(content: bytes | memoryview, flags: int) -> Pixels | None:
    if not is_complete(content):
        return None
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
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
