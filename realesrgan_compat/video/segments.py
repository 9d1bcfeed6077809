"""The finished parts of a result, each a file that is complete or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from filelock import FileLock, Timeout

from mambair.atomic import remove_leftovers, write_atomically
from mambair.imaging.pixels import Pixels
from realesrgan_compat.video.colors import Colors
from realesrgan_compat.video.errors import VideoError
from realesrgan_compat.video.timing import Timing

_SETTINGS = "settings.json"
# NUT keeps every time exactly, where Matroska rounds to milliseconds, and can be played.
_FORMAT = "nut"


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        colors: how pixels are meant.
        timing: the unit of time.
        aspect: width of a pixel by its height.
        crf: constant quality of x264; less is better.
        preset: speed of x264.
    """

    colors: Colors
    timing: Timing
    aspect: Fraction
    crf: float
    preset: str


class Segments:
    """A folder of finished parts, each of as many frames (the last may have fewer).

    Args:
        folder: made if it is missing.
        settings: everything that the pixels depend on.
        length: frames of a part.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], length: int) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(dict(settings)))
        self.length = length

    @contextmanager
    def locked(self, restart: bool = False) -> Iterator[None]:
        """Keeps other runs out of the folder, and makes sure that its parts fit this run.

        Args:
            restart: throw parts away that are there.

        Raises:
            VideoError: another run is at work, or there are parts made with other settings.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            with lock.acquire(timeout=0):
                if restart:
                    for path in self.paths():
                        path.unlink()
                self._check_settings()
                yield
        except Timeout:
            raise VideoError(f"{self.folder}: another run is writing this video") from None

    def _check_settings(self) -> None:
        path = self.folder / _SETTINGS
        paths = self.paths()
        if paths:
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                before = {}
            differing = [
                f"{key} {before.get(key)!r}, not {value!r}"
                for key, value in self.settings.items()
                if before.get(key) != value
            ]
            if differing:
                raise VideoError(
                    f"{self.folder}: holds {len(paths)} parts of this video made with "
                    f"{'; '.join(differing)}. Run with the settings of before, or with --restart, "
                    "which throws these parts away"
                )
        content = json.dumps(self.settings, indent=1).encode()
        write_atomically(path, lambda file: file.write(content))

    def paths(self) -> list[Path]:
        """The finished parts, in order."""
        paths: list[Path] = []
        while (path := self._path(len(paths))).is_file():
            paths.append(path)
        return paths

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.{_FORMAT}"

    def add(self, frames: Iterable[tuple[int, Pixels]], encoding: Encoding) -> None:
        """Encodes the next part.

        Args:
            frames: at least one: its start, and BGR.
            encoding: how.

        Raises:
            VideoError: it cannot be written; names it.
        """
        path = self._path(len(self.paths()))
        remove_leftovers(path)
        try:
            write_atomically(path, lambda file: _encode(file, frames, encoding))
        except OSError as error:
            raise VideoError(f"{path}: cannot be written: {error.strerror or error}") from error

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _x264_parameters() -> str:
    """Parameters with which parts can be joined, and the same frames give the same bytes."""
    import torch

    parameters = "stitchable=1"  # headers that do not depend on the frames
    if "AVX512" in torch.backends.cpu.get_cpu_capability():
        # The AVX-512 code of PyAV 18's x264 encodes the first video of a process in another way
        # each time (seen with mbtree, which is part of most presets). AVX2 is as fast here.
        parameters += ":asm=AVX2"
    return parameters


def _encode(file: BinaryIO, frames: Iterable[tuple[int, Pixels]], encoding: Encoding) -> None:
    timing = encoding.timing
    # Without the option the first part would be moved so that its first time of decoding is 0.
    options = {"avoid_negative_ts": "disabled"}
    with av.open(file, "w", format=_FORMAT, options=options) as container:
        stream = None
        for start, pixels in frames:
            frame = encoding.colors.frame_of(pixels)
            frame.pts, frame.time_base = start, timing.time_base
            if stream is None:
                stream = container.add_stream(
                    "libx264",
                    rate=timing.rate,
                    options={
                        "crf": str(encoding.crf),
                        "preset": encoding.preset,
                        "x264-params": _x264_parameters(),
                    },
                )
                stream.width, stream.height = frame.width, frame.height
                stream.codec_context.time_base = timing.time_base
                stream.time_base = timing.time_base
                stream.codec_context.sample_aspect_ratio = encoding.aspect
                encoding.colors.tag_encoder(stream.codec_context)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode(None))
