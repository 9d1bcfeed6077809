"""What a picture file says besides its pixels: color profile, EXIF, XMP, IPTC, resolution."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from PIL import Image

from mambair.imaging import png
from mambair.imaging.formats import Format
from mambair.imaging.pillow import exif_of, open_picture
from mambair.imaging.profiles import space_of

EXIF_IFD, GPS_IFD, _INTEROP_IFD = 0x8769, 0x8825, 0xA005
IPTC_IN_TIFF = 33723
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0xA002, 0xA003
# Tags of a TIFF's first directory that say how its pixels are stored (the result has its own), or
# that hold what is carried over by itself.
_LEFT_TO_THE_WRITER = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 282, 283,
    284, 288, 289, 290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325,
    330, 332, 338, 339, 340, 341, 342, 347, 512, 513, 514, 519, 520, 521, 529, 530, 531, 532, 700,
    IPTC_IN_TIFF, 34377, 34675, EXIF_IFD, GPS_IFD,
}  # fmt: skip
_ORIENTATION_IN_XMP = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)[0-9]""")
_XMP_IN_PNG = "XML:com.adobe.xmp"
_IPTC_IN_PHOTOSHOP = 0x0404
_TEXTS_OF_PNG = (b"tEXt", b"zTXt", b"iTXt")
_COLORS_OF_PNG = (b"cICP", b"mDCV", b"cLLI", b"cHRM", b"gAMA", b"sRGB")
_USUAL_COLORS = {b"sRGB": None, b"gAMA": (45455).to_bytes(4, "big")}


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture, for the result to say again.

    Attributes:
        icc: color profile.
        exif: tags of the first directory; those of the directories below it as mappings. Upright,
            and without tags about how the pixels of the source were stored.
        exif_order: ``<`` or ``>``: the byte order, on which notes of camera makers rely.
        xmp: an XMP packet; upright.
        iptc: records of IPTC.
        dpi: dots per inch, horizontally and vertically.
        png_chunks: texts and declarations of color of a PNG, which only a PNG can hold.
        damaged: names of kinds that could not be read.
    """

    icc: bytes | None = None
    exif: Mapping[int, Any] = field(default_factory=dict)
    exif_order: str = "<"
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    damaged: tuple[str, ...] = ()

    def for_size(self, width: int, height: int) -> Metadata:
        """The same for a result of another size: EXIF may repeat the size of the picture."""
        inner = self.exif.get(EXIF_IFD, {})
        size = {tag: side for tag, side in ((_WIDTH, width), (_HEIGHT, height)) if tag in inner}
        return replace(self, exif={**self.exif, EXIF_IFD: {**inner, **size}}) if size else self

    def missing_in(self, form: Format) -> list[str]:
        """The kinds of metadata that are here and that a format cannot hold."""
        chunks = () if form.name == "png" else self.png_chunks
        unusual = [
            kind
            for kind, data in chunks
            if kind in _COLORS_OF_PNG and _USUAL_COLORS.get(kind, b"") not in (None, data)
        ]
        lost = {
            "EXIF": self.exif and not form.exif,
            "XMP": self.xmp and not form.xmp,
            "IPTC": self.iptc and not form.iptc,
            "texts": any(kind in _TEXTS_OF_PNG for kind, _ in chunks),
            "color declarations of PNG": unusual,
        }
        return [name for name, missing in lost.items() if missing]

    def exif_block(self) -> bytes | None:
        """EXIF as a block of its own, with ``Exif`` in front; ``None`` without any."""
        if not self.exif:
            return None
        block = Image.Exif()
        block.endian = self.exif_order
        for tag, value in self.exif.items():
            block[tag] = value
        return block.tobytes()

    def as_info(self) -> dict[str, Any]:
        """The same as entries of ``info`` of a picture of Pillow's, which is RGB or gray."""
        entries = {
            "icc_profile": self.icc if self.icc and space_of(self.icc) in ("RGB", "GRAY") else None,
            "exif": self.exif_block(),
            "xmp": self.xmp,
            "dpi": self.dpi,
        }
        return {key: value for key, value in entries.items() if value}


def read_metadata(content: bytes) -> Metadata:
    """Reads the metadata of a file, of any format that Pillow can open."""
    file: BinaryIO = io.BytesIO(content)
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    if content.startswith(png.SIGNATURE):
        chunks = tuple(
            (kind, data)
            for kind, data in png.chunks(file)
            if kind in (*_TEXTS_OF_PNG, *_COLORS_OF_PNG)
            and not data.startswith(_XMP_IN_PNG.encode())
        )
        file = png.without_pixels(file)
    picture = open_picture(file)
    return Metadata() if picture is None else replace(metadata_of(picture), png_chunks=chunks)


def metadata_of(picture: Image.Image) -> Metadata:
    """The metadata of a picture of Pillow's."""
    found = Metadata(
        icc=picture.info.get("icc_profile") or None,
        xmp=_xmp(picture),
        iptc=_iptc(picture),
        dpi=_dpi(picture.info.get("dpi")),
    )
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        try:
            exif = exif_of(picture)
            found = replace(found, exif=_tags(exif), exif_order=exif.endian or "<")
            found.exif_block()  # what cannot be written again is of no use
        except Exception:  # damaged EXIF raises all kinds of errors
            return replace(found, exif={}, damaged=("EXIF",))
    return replace(found, damaged=("part of EXIF",)) if complaints else found


def _tags(exif: Image.Exif) -> dict[int, Any]:
    tags = {tag: value for tag, value in exif.items() if tag not in _LEFT_TO_THE_WRITER}
    if _ORIENTATION in tags:
        tags[_ORIENTATION] = 1
    for tag in (EXIF_IFD, GPS_IFD):
        inner = dict(exif.get_ifd(tag))
        if _INTEROP_IFD in inner:
            inner[_INTEROP_IFD] = dict(exif.get_ifd(_INTEROP_IFD))
        if inner:
            tags[tag] = inner
    return tags


def _xmp(picture: Image.Image) -> bytes | None:
    packet = picture.info.get("xmp") or picture.info.get(_XMP_IN_PNG)
    if not packet:
        return None
    data = packet.encode() if isinstance(packet, str) else bytes(packet)
    return _ORIENTATION_IN_XMP.sub(rb"\g<1>1", data)


def _iptc(picture: Image.Image) -> bytes | None:
    if picture.format == "TIFF":
        records = getattr(picture, "tag_v2", {}).get(IPTC_IN_TIFF)
    else:
        blocks = picture.info.get("photoshop")
        records = blocks.get(_IPTC_IN_PHOTOSHOP) if isinstance(blocks, Mapping) else None
    return records if isinstance(records, bytes) else None


def _dpi(dpi: Any) -> tuple[float, float] | None:
    try:
        x, y = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None
