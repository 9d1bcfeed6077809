"""A picture file as a whole: its pages or frames, and all that it says about them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from mambair.imaging.encoding import Timing, encode_frames
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import format_of
from mambair.imaging.metadata import Metadata, read_metadata
from mambair.imaging.pillow import open_picture
from mambair.imaging.pixels import Pixels
from mambair.imaging.reading import read_file, read_frames
from mambair.imaging.tiff import SIGNATURES, undefined_channels
from mambair.imaging.writing import write_bytes


@dataclass(frozen=True)
class PictureFile:
    """The contents of a picture file.

    Attributes:
        frames: its pages or frames, one of most pictures; as from
            :func:`mambair.imaging.reading.read_image`.
        metadata: what it says about them.
        timing: of an animation.
        notes: what of the file is not in here, one sentence for each kind.
    """

    frames: list[Pixels]
    metadata: Metadata
    timing: Timing | None = None
    notes: tuple[str, ...] = ()

    def with_frames(self, frames: Sequence[Pixels]) -> PictureFile:
        """Other pixels with the same metadata and timing."""
        return replace(self, frames=list(frames))


def read_picture_file(path: str | os.PathLike[str]) -> PictureFile:
    """Reads a file with all that it holds.

    Raises:
        PictureError: missing, damaged or of a depth that is not supported; names the file.
    """
    content = read_file(path)
    frames = read_frames(content, os.fspath(path))
    metadata = read_metadata(content)
    notes = [f"damaged {each} left out" for each in metadata.damaged]
    if content.startswith(SIGNATURES) and undefined_channels(io.BytesIO(content)):
        notes.append("channels that are neither color nor alpha left out")
    picture = open_picture(io.BytesIO(content))
    timing = None
    if picture is not None:
        if picture.format in ("MPO", "HEIF") and getattr(picture, "n_frames", 1) > len(frames):
            notes.append("further pictures inside the file (a depth map, a preview) left out")
        if picture.mode == "CMYK":
            notes.append("CMYK became sRGB")
        if len(frames) > 1 and picture.format != "TIFF":
            timing = _timing(picture, len(frames), path)
    return PictureFile(frames, metadata, timing, tuple(notes))


def _timing(picture: Image.Image, count: int, path: str | os.PathLike[str]) -> Timing:
    durations = []
    try:
        for index in range(count):
            picture.seek(index)
            picture.load()  # decoders of WebP and AVIF know the time of a frame afterwards
            durations.append(float(picture.info.get("duration") or 0))
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise PictureError(f"{os.fspath(path)}: not a readable animation (damaged?)") from error
    loop = int(picture.info.get("loop", 1))  # a GIF that says nothing runs once
    has_poster = bool(getattr(picture, "default_image", False))
    return Timing(tuple(durations), loop, has_poster)


def write_picture_file(picture: PictureFile, path: str | os.PathLike[str]) -> list[str]:
    """Writes a file with all that it can hold; the file is either its old self or complete.

    Args:
        picture: pixels, metadata and timing.
        path: its extension names the format; the folder is created.

    Returns:
        What the format could not hold: one sentence for each kind.

    Raises:
        PictureError: unknown format, or it cannot be written; names the file.
    """
    form = format_of(path)
    try:
        content, notes = encode_frames(picture.frames, form, picture.metadata, picture.timing)
    except ValueError as error:
        raise PictureError(f"{os.fspath(path)}: {error}") from error
    write_bytes(content, path)
    return notes
