"""TIFF files: pages of any kind, read and written.

Pillow reads 8 bits with every kind of transparency and color, OpenCV 16 bits in every compression,
tifffile what neither reads right: gray with alpha of 16 bits, more channels, and separate planes.
tifffile writes all of them.
"""

from __future__ import annotations

import io
import logging
import struct
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import TiffImagePlugin, TiffTags

from mambair.imaging.errors import PictureError
from mambair.imaging.metadata import IPTC_IN_TIFF, Metadata
from mambair.imaging.pillow import open_picture
from mambair.imaging.pixels import Pixels, swap_order, turn_upright
from mambair.imaging.profiles import pixels_by_profile

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112
# Of the tag PhotometricInterpretation.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_LINEAR = 34892
_PLAIN = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _LINEAR)
_COLORS = {
    _WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _PALETTE: 1, _RGB: 3, _YCBCR: 3, _LAB: 3, _LINEAR: 3,
    _CMYK: 4,
}  # fmt: skip
_IN_PLANES = 2  # of the tag PlanarConfiguration
_UNSPECIFIED, _PREMULTIPLIED, _ALPHA = 0, 1, 2  # of the tag ExtraSamples
_XMP = 700
_STRIP = 1 << 18  # bytes in a strip, roughly


def read_pages(file: BinaryIO, name: str, first_only: bool = False) -> list[Pixels]:
    """Reads the pages of a TIFF, upright; smaller copies of a page (thumbnails) are passed over.

    Args:
        file: the open file.
        name: its name, for messages.
        first_only: read no page but the first.

    Returns:
        Arrays as :func:`mambair.imaging.reading.read_image` returns them.

    Raises:
        PictureError: damaged, or pixels of another depth; names file and page.
    """
    tifffile = _tifffile()
    try:
        _check_directories(file)
        with tifffile.TiffFile(file) as tiff:
            pages = [_Page(file, index, page) for index, page in enumerate(tiff.pages)]
            full = [page for page in pages if not page.is_thumbnail] or pages
            chosen = full[:1] if first_only else full
            return [_read(page, name, len(full)) for page in chosen]
    except PictureError:
        raise
    except Exception as error:  # tifffile raises all kinds of errors on damaged files
        raise PictureError(f"{name}: not a readable picture (damaged or truncated?)") from error


def read_sizes(file: BinaryIO, name: str) -> list[tuple[int, int]]:
    """Height and width of every page, upright, from the headers alone.

    Raises:
        PictureError: not a TIFF, or damaged.
    """
    tifffile = _tifffile()
    try:
        _check_directories(file)
        with tifffile.TiffFile(file) as tiff:
            pages: list[Any] = list(tiff.pages)
            full = [page for page in pages if not page.is_reduced] or pages
            if not full:
                raise ValueError("it has no pages")
            return [_size(page) for page in full]
    except Exception as error:  # tifffile raises all kinds of errors on damaged files
        raise PictureError(f"{name}: not a readable picture (damaged or truncated?)") from error


def undefined_channels(file: BinaryIO) -> int:
    """The most channels of a page that are neither color nor alpha, which are not read."""
    with _tifffile().TiffFile(file) as tiff:
        pages = (_Page(file, index, page) for index, page in enumerate(tiff.pages))
        return max((page.unread for page in pages), default=0)


def _size(page: Any) -> tuple[int, int]:
    height, width = int(page.imagelength), int(page.imagewidth)
    on_its_side = int(page.tags.valueof(_ORIENTATION, default=1)) >= 5
    return (width, height) if on_its_side else (height, width)


def _check_directories(file: BinaryIO) -> None:
    """Follows the directories of a file, and leaves its position at the start.

    A damaged file may have thousands that overlap, with thousands of tags each, which would take
    minutes to parse.

    Raises:
        ValueError: they are more than the file can hold, or form a circle.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:1] == b"I" else ">"
    is_big = head[2:4] in (b"+\0", b"\0+")
    count_format, offset_format = (order + each for each in (("Q", "Q") if is_big else ("H", "L")))
    counted, pointer = struct.calcsize(count_format), struct.calcsize(offset_format)
    (at,) = struct.unpack_from(offset_format, head, 8 if is_big else 4)
    used = 0
    while at:
        file.seek(at)
        (tags,) = struct.unpack(count_format, file.read(counted))
        size = counted + tags * (20 if is_big else 12) + pointer
        used += size
        if used > length:
            raise ValueError("its directories are longer than the file")
        file.seek(at + size - pointer)
        (at,) = struct.unpack(offset_format, file.read(pointer))
    file.seek(0)


def _tifffile() -> Any:
    """tifffile, imported where it is needed; what is wrong with a file is said by errors alone."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile


class _Page:
    """A page of a file, with what decides how it is read."""

    def __init__(self, file: BinaryIO, index: int, page: Any) -> None:
        self.file, self.index, self.page = file, index, page
        self.kind = np.dtype(page.dtype) if page.dtype is not None else None
        self.samples = int(page.samplesperpixel)
        self.photometric = int(page.photometric)
        self.in_planes = self.samples > 1 and int(page.planarconfig) == _IN_PLANES
        self.colors = _COLORS.get(self.photometric, self.samples)
        more = tuple(map(int, page.extrasamples)) or (_ALPHA,) * (self.samples == self.colors + 1)
        alphas = [index for index, meaning in enumerate(more) if meaning != _UNSPECIFIED]
        self.alpha = self.colors + alphas[0] if alphas else None
        self.is_premultiplied = bool(alphas) and more[alphas[0]] == _PREMULTIPLIED
        self.unread = max(0, self.samples - self.colors - (self.alpha is not None))
        # Pillow confuses other planes than these.
        simple = self.photometric in (_RGB, _CMYK) and self.samples == self.colors
        simple |= (
            self.photometric == _RGB
            and self.samples == 4
            and (more == (_ALPHA,) or (more == (_UNSPECIFIED,) and int(page.compression) != 1))
        )
        self.is_beyond_pillow = self.kind == np.uint16 or (self.in_planes and not simple)
        self.is_thumbnail = bool(page.is_reduced)


def _read(page: _Page, name: str, count: int) -> Pixels:
    where = name if count == 1 else f"{name}, page {page.index + 1}"
    if page.kind is not None and page.kind not in (np.bool_, np.uint8, np.uint16):
        raise PictureError(f"{where}: pixels are {page.kind}; 8 or 16 bits are supported")
    try:
        image = _read_plainly(page) if page.is_beyond_pillow else _read_with_pillow(page)
    except PictureError as error:
        raise PictureError(f"{where}: {error}") from error
    except Exception as error:
        raise PictureError(f"{where}: not a readable picture (damaged or truncated?)") from error
    return image


def _read_with_pillow(page: _Page) -> Pixels:
    picture = open_picture(page.file)
    if picture is None:
        raise PictureError("not a readable picture (of an unknown kind, or damaged)")
    picture.seek(page.index)
    picture.load()  # turns it upright
    return swap_order(pixels_by_profile(picture))


def _read_plainly(page: _Page) -> Pixels:
    if page.photometric not in _PLAIN:
        kind = getattr(page.page.photometric, "name", page.photometric)
        planes = " in separate planes" * page.in_planes
        raise PictureError(f"colors are {kind}{planes}, {page.kind}; convert it to RGB")
    image = None
    if not page.in_planes and (page.samples == 1 or (page.colors == 3 and page.samples <= 4)):
        image = _decode_with_opencv(page)  # elsewhere its pixels are undefined
    if image is None:
        image = _decode_with_tifffile(page)
    if image.ndim == 3:
        kept = [*range(page.colors), *([] if page.alpha is None else [page.alpha])]
        image = image[..., kept[0] if len(kept) == 1 else kept]
    if page.photometric == _WHITE_IS_ZERO:
        image = image.copy()
        gray = image[..., 0] if image.ndim == 3 else image
        gray[...] = np.iinfo(image.dtype).max - gray
    if page.is_premultiplied:
        image = _without_premultiplication(image)
    return image


def _decode_with_tifffile(page: _Page) -> Pixels:
    try:
        image = np.asarray(page.page.asarray())
    except ValueError as error:  # a compression that needs the package imagecodecs
        if "imagecodecs" not in str(error):
            raise
        compression = getattr(page.page.compression, "name", page.page.compression)
        raise PictureError(
            f"{page.samples} channels{' in separate planes' * page.in_planes}, compressed as "
            f"{compression}, are not supported; save it uncompressed or with Deflate"
        ) from error
    if page.in_planes:
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 3 and page.colors == 3:
        image = np.concatenate([image[..., 2::-1], image[..., 3:]], axis=2)
    return turn_upright(image, int(page.page.tags.valueof(_ORIENTATION, default=1)))


def _decode_with_opencv(page: _Page) -> Pixels | None:
    page.file.seek(0)
    data = np.frombuffer(page.file.read(), np.uint8)
    try:
        if page.index == 0:
            return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        ok, images = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return images[page.index] if ok and len(images) > page.index else None


def _without_premultiplication(image: Pixels) -> Pixels:
    top = np.iinfo(image.dtype).max
    alpha = image[..., -1:].astype(np.float64)
    color = np.rint(image[..., :-1] * (top / np.maximum(alpha, 1))).clip(0, top)
    return np.dstack([color.astype(image.dtype), image[..., -1]])


def encode_pages(pages: list[Pixels], metadata: Metadata) -> bytes:
    """The file of pictures, one a page; lossless (deflate).

    Args:
        pages: uint8 or uint16: gray, gray and alpha, BGR or BGRA.
        metadata: profile and resolution stand on every page, the rest on the first.
    """
    tifffile = _tifffile()
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder="<") as writer:
        for page in pages:
            channels = 1 if page.ndim == 2 else page.shape[2]
            writer.write(
                np.ascontiguousarray(swap_order(page)),
                photometric="rgb" if channels > 2 else "minisblack",
                planarconfig="contig" if channels > 1 else None,
                extrasamples=["unassalpha"] if channels in (2, 4) else None,
                compression="zlib",
                predictor=True,
                rowsperstrip=max(1, _STRIP // max(1, page.nbytes // len(page))),
                iccprofile=metadata.icc,
                resolution=metadata.dpi,
                resolutionunit="inch" if metadata.dpi else None,
                metadata=None,
                software=False,
            )
    return _with_tags(buffer.getvalue(), metadata)


def _with_tags(content: bytes, metadata: Metadata) -> bytes:
    """A TIFF whose first directory also has the tags of EXIF, XMP and IPTC.

    Pillow writes the new tags as a directory behind everything else. The entries of both are then
    merged into a third, which takes the place of the first; nothing else moves.
    """
    added = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    for tag, value in metadata.exif.items():
        added[tag] = value
    for tag, kind, data in (
        (_XMP, TiffTags.BYTE, metadata.xmp),
        (IPTC_IN_TIFF, TiffTags.UNDEFINED, metadata.iptc),
    ):
        if data:
            added[tag] = data
            added.tagtype[tag] = kind
    if not added or not content.startswith(b"II*\0"):  # above 4 GB tifffile writes a BigTIFF
        return content
    content += b"\0" * (len(content) % 2)  # directories begin at even positions
    block = added.tobytes(len(content))
    first = int.from_bytes(content[4:8], "little")
    entries, following = _entries(content[first:])
    merged = sorted(entries | _entries(block)[0], key=lambda entry: entry[:2][::-1])
    directory = len(merged).to_bytes(2, "little") + b"".join(merged) + following
    block += b"\0" * (len(block) % 2)
    start = (len(content) + len(block)).to_bytes(4, "little")
    return content[:4] + start + content[8:] + block + directory


def _entries(directory: bytes) -> tuple[set[bytes], bytes]:
    """The entries of a directory, 12 bytes each, and the position of the following directory."""
    end = 2 + 12 * int.from_bytes(directory[:2], "little")
    return {directory[at : at + 12] for at in range(2, end, 12)}, directory[end : end + 4]
