"""A video from file to file, part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
from av import VideoFrame

from mambair.imaging.pixels import Pixels
from realesrgan_compat.enhancer import Enhancer
from realesrgan_compat.video.errors import VideoError
from realesrgan_compat.video.joining import copied_streams, join
from realesrgan_compat.video.segments import Encoding, Segments
from realesrgan_compat.video.source import Damage, VideoFacts, read_facts, read_frames
from realesrgan_compat.video.timing import Timing

PART_LENGTH = 48  # frames: what a kill can cost, and how often a whole picture is stored


@dataclass(frozen=True)
class VideoOptions:
    """What a result is like, besides its pixels.

    Attributes:
        fps: a fixed rate; ``None``: the times of the source.
        crf: constant quality of x264; less is better.
        preset: speed of x264.
        part_length: frames of a part.
        restart: throw away what a run before left.
    """

    fps: Fraction | None = None
    crf: float = 18
    preset: str = "medium"
    part_length: int = PART_LENGTH
    restart: bool = False


def parts_folder(target: Path) -> Path:
    """The folder of the finished parts of a result."""
    return target.with_name(f"{target.name}.parts")


def check_video(source: Path, target: Path) -> list[str]:
    """Reads what is needed to know that a video can be restored.

    Returns:
        Sentences about what will be lost.

    Raises:
        VideoError: it cannot be; names the video and says why.
    """
    facts = read_facts(source)
    notes = []
    copied = copied_streams(source, target.suffix)
    if copied.sound_is_left_out:
        advice = "convert it before" if target.suffix == ".mkv" else "give --container mkv"
        raise VideoError(
            f"{source}: {target.suffix} cannot hold {', '.join(copied.left_out)}; {advice}"
        )
    if copied.left_out:
        notes.append(f"left out: {', '.join(copied.left_out)}")
    if facts.interlaced:
        notes.append("is interlaced; deinterlace it before, or moving edges become combs")
    return [f"{source}: {note}" for note in notes]


def restore_video(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    options: VideoOptions,
    progress: Callable[[int, int], None],
) -> list[str]:
    """Restores a video; goes on where a run before was stopped.

    Frames are decoded, enlarged and encoded one by one. After every ``part_length`` frames a part
    is finished; when all are, they are joined with the sound of the source, and removed.

    Args:
        source: the video.
        target: ``.mp4``, ``.mkv`` or ``.mov``.
        enhancer: what is done with each frame.
        options: the rest.
        progress: called with the frames done, and with their probable number.

    Returns:
        Sentences about what was wrong with the video.

    Raises:
        VideoError: it cannot be read or written, or parts of other settings are there.
    """
    facts = read_facts(source)
    timing = Timing.of(facts, options.fps)
    encoding = Encoding(facts.colors, timing, facts.aspect, options.crf, options.preset)
    settings = _settings(source, enhancer, options)
    segments = Segments(parts_folder(target), settings, options.part_length)
    total = round(facts.frames / facts.rate * options.fps) if options.fps else facts.frames
    damage = Damage()
    with segments.locked(options.restart):
        done = len(segments.paths()) * options.part_length
        progress(done, total)
        scheduled = timing.schedule(read_frames(source, damage), facts.time_base)
        restored = _restored(islice(scheduled, done, None), enhancer, facts)
        for frame in restored:
            part = chain([frame], islice(restored, options.part_length - 1))
            segments.add(_counted(part, done, total, progress), encoding)
            done += options.part_length
        parts = segments.paths()
        if not parts:
            raise VideoError(f"{source}: holds no frame that can be decoded")
        join(source, parts, target, timing.time_base, facts.origin)
    segments.remove()
    return [f"{source}: {line}" for line in damage.describe()]


def _counted(
    frames: Iterator[tuple[int, Pixels]],
    done: int,
    total: int,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, Pixels]]:
    for number, frame in enumerate(frames, start=1):
        yield frame
        progress(done + number, max(total, done + number))


def _restored(
    scheduled: Iterator[tuple[int, VideoFrame]], enhancer: Enhancer, facts: VideoFacts
) -> Iterator[tuple[int, Pixels]]:
    """Frames through the network; one that is shown several times goes through it once."""
    last: VideoFrame | None = None
    pixels: Pixels | None = None
    for start, frame in scheduled:
        if pixels is None or frame is not last:
            pixels, last = enhancer(facts.colors.pixels_of(frame)), frame
        yield start, pixels


def _settings(source: Path, enhancer: Enhancer, options: VideoOptions) -> dict[str, Any]:
    """Everything that the pixels of a result depend on."""
    upsampler = enhancer.upsampler
    found = source.stat()
    return {
        "source": [str(source.resolve()), found.st_size, found.st_mtime_ns],
        "network": _fingerprint(enhancer),
        "outscale": enhancer.outscale,
        "tile": [upsampler.tile_size, upsampler.tile_pad, upsampler.pre_pad],
        "half": upsampler.half,
        "faces": enhancer.faces is not None,
        "fps": None if options.fps is None else str(options.fps),
        "crf": options.crf,
        "preset": options.preset,
        "frames of a part": options.part_length,
        "encoder": av.__version__,
    }


def _fingerprint(enhancer: Enhancer) -> str:
    """Name and digest of the network's weights."""
    net = enhancer.upsampler.model
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().numpy().tobytes())
    return f"{type(net).__name__} {digest.hexdigest()[:16]}"
