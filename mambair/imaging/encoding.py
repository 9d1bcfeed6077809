"""From pixels and metadata to the contents of a picture file; what a format cannot hold is said."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from mambair.imaging import png, tiff
from mambair.imaging.formats import Format
from mambair.imaging.metadata import Metadata
from mambair.imaging.pillow import pillow_of_pixels, register_heif
from mambair.imaging.pixels import Pixels, swap_order, to_eight_bits
from mambair.imaging.profiles import as_srgb, is_srgb, space_of
from mambair.imaging.transparency import lay_on_white

_QUALITY = 95  # of the lossy formats: little is lost
_MOST_IN_JPEG = 65533 - len(b"http://ns.adobe.com/xap/1.0/\0")  # bytes in a segment


@dataclass(frozen=True)
class Timing:
    """How an animation runs.

    Attributes:
        durations: of every frame, in milliseconds.
        loop: how often it runs; 0: for ever.
        has_poster: the first frame of an APNG is for viewers that know no animation, and no part
            of it.
    """

    durations: tuple[float, ...]
    loop: int = 0
    has_poster: bool = False


def encode_frames(
    frames: Sequence[Pixels],
    form: Format,
    metadata: Metadata | None = None,
    timing: Timing | None = None,
) -> tuple[bytes, list[str]]:
    """The file of a picture, of several pages or of an animation.

    Args:
        frames: as from :func:`mambair.imaging.reading.read_frames`.
        form: what to write; :func:`refusal_of` says what it cannot hold at all.
        metadata: to write along.
        timing: of an animation.

    Returns:
        The file, and what the format could not hold: one sentence for each kind.

    Raises:
        ValueError: the encoder refuses.
    """
    metadata = metadata or Metadata()
    height, width = frames[0].shape[:2]
    frames, metadata, notes = _fit(list(frames), form, metadata.for_size(width, height))
    try:
        if form.name == "tif":
            return tiff.encode_pages(frames, metadata), notes
        if form.name == "png":
            content = _encode_png(frames[0]) if len(frames) == 1 else _animate(frames, form, timing)
            return png.insert(content, _png_chunks(metadata)), notes
        return _animate(frames, form, timing, **_pillow_arguments(form, metadata, notes)), notes
    except (OSError, ValueError, TypeError, KeyError, cv2.error) as error:
        raise ValueError(
            f"{width}×{height} pixels could not be written as {form.name}: {error}"
        ) from error


def refusal_of(form: Format, height: int, width: int, frames: int, paged: bool) -> str | None:
    """Why a format cannot hold a picture; ``None`` if it can.

    Args:
        form: the format.
        height: of the picture, in pixels.
        width: likewise.
        frames: how many pages or frames it has.
        paged: they are pages, not those of an animation.
    """
    if max(height, width) > form.max_side:
        return (
            f"{width}×{height} pixels are more than {form.name} can hold, which is "
            f"{form.max_side} on a side; --format png can"
        )
    needed = "pages" if paged else "animation"
    if frames > 1 and form.frames != needed:
        what, better = ("pages", "tif") if paged else ("frames of an animation", "png")
        return f"{form.name} cannot hold its {frames} {what}; --format {better} can"
    return None


def _fit(
    frames: list[Pixels], form: Format, metadata: Metadata
) -> tuple[list[Pixels], Metadata, list[str]]:
    """Converts what the format cannot hold, and says so."""
    notes = []
    if not form.deep and any(each.dtype == np.uint16 for each in frames):
        frames = [to_eight_bits(each) for each in frames]
        notes.append(f"16 bits became 8, all that {form.name} can hold")
    if not form.alpha and any(_has_alpha(each) for each in frames):
        frames = [lay_on_white(each) if _has_alpha(each) else each for each in frames]
        notes.append(f"transparency was laid on white, because {form.name} cannot hold it")
    if metadata.icc and space_of(metadata.icc) not in ("RGB", "GRAY"):
        metadata = replace(metadata, icc=None)  # of CMYK, which has become sRGB
    if metadata.icc and (not form.icc or (space_of(metadata.icc) == "GRAY" and not form.gray)):
        if not is_srgb(metadata.icc):
            frames = [as_srgb(to_eight_bits(each), metadata.icc) for each in frames]
            notes.append(f"colors became sRGB, because {form.name} cannot hold the profile")
        metadata = replace(metadata, icc=None)
    lost = metadata.missing_in(form)
    if lost:
        notes.append(f"{', '.join(lost)} left out, because {form.name} cannot hold it")
    if form.name == "gif":
        notes.append("colors became 256, all that gif can hold; --format png keeps them")
    return frames, metadata, notes


def _has_alpha(image: Pixels) -> bool:
    return image.ndim == 3 and image.shape[2] in (2, 4)


def _encode_png(image: Pixels) -> bytes:
    if image.ndim == 3 and image.shape[2] == 2:
        return png.encode_gray_alpha(image)
    ok, encoded = cv2.imencode(".png", image)
    if not ok:
        raise ValueError(f"OpenCV could not encode {image.shape}")
    return encoded.tobytes()


def _png_chunks(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    # Declarations of color that contradict a profile are ignored; a profile goes without sRGB.
    chunks = [each for each in metadata.png_chunks if not (metadata.icc and each[0] == b"sRGB")]
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi:
        x, y = (round(each / 0.0254) for each in metadata.dpi)  # pixels in a meter
        chunks.append((b"pHYs", x.to_bytes(4, "big") + y.to_bytes(4, "big") + b"\1"))
    block = metadata.exif_block()
    if block:
        chunks.append((b"eXIf", block.removeprefix(b"Exif\0\0")))
    if metadata.xmp:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    return chunks


def _animate(frames: list[Pixels], form: Format, timing: Timing | None, **arguments: Any) -> bytes:
    """Encodes one frame or several by Pillow."""
    if form.name == "heic":
        register_heif()
    pictures = [pillow_of_pixels(swap_order(_squeezed(each))) for each in frames]
    if len(pictures) > 1:
        arguments |= {"save_all": True, "append_images": pictures[1:]}
        arguments |= _timing_arguments(form, timing or Timing((100.0,) * len(frames)))
        if form.name == "gif" and any(_has_alpha(each) for each in frames):
            arguments["disposal"] = 2  # nothing of a frame shows through the next
    buffer = io.BytesIO()
    pictures[0].save(buffer, format=form.pillow, **arguments)
    return buffer.getvalue()


def _squeezed(image: Pixels) -> Pixels:
    return image[..., 0] if image.shape[2:] == (1,) else image


def _timing_arguments(form: Format, timing: Timing) -> dict[str, Any]:
    durations: list[Any] = list(timing.durations)
    if form.name != "png":
        durations = [round(each) for each in durations]
    arguments: dict[str, Any] = {"duration": durations}
    if form.name in ("png", "webp") or timing.loop != 1:
        arguments["loop"] = timing.loop  # a GIF without it runs once
    if form.name == "png" and timing.has_poster:
        arguments |= {"default_image": True, "duration": durations[1:]}
    return arguments


def _pillow_arguments(form: Format, metadata: Metadata, notes: list[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if form.name in ("jpg", "webp", "avif", "heic"):
        arguments["quality"] = _QUALITY
    if form.icc and metadata.icc:
        arguments["icc_profile"] = metadata.icc
    if form.dpi and metadata.dpi:
        arguments["dpi"] = metadata.dpi
    for kind, holds, data in (
        ("exif", form.exif, metadata.exif_block()),
        ("xmp", form.xmp, metadata.xmp),
    ):
        if form.name == "jpg" and data and len(data) > _MOST_IN_JPEG:
            notes.append(f"{kind.upper()} left out, because it is too long for jpg")
        elif holds and data:
            arguments[kind] = data
    if form.iptc and metadata.iptc and len(metadata.iptc) < _MOST_IN_JPEG:
        arguments["extra"] = _photoshop_segment(metadata.iptc)
    return arguments


def _photoshop_segment(records: bytes) -> bytes:
    """The segment of a JPEG that holds records of IPTC."""
    block = b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big") + records
    data = b"Photoshop 3.0\0" + block + b"\0" * (len(records) % 2)
    return b"\xff\xed" + (len(data) + 2).to_bytes(2, "big") + data
