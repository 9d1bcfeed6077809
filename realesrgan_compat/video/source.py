"""Reading a video: what it holds, and its frames with their exact times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from realesrgan_compat.video.colors import Colors, quarter_turns
from realesrgan_compat.video.errors import VideoError

EXTENSIONS = (
    ".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg",
    ".wmv", ".flv", ".3gp", ".ogv", ".nut",
)  # fmt: skip
_DEFAULT_RATE = Fraction(25)  # where a file says nothing


@dataclass(frozen=True)
class VideoFacts:
    """What a video says about itself.

    Attributes:
        width: of its frames, upright.
        height: likewise.
        time_base: the unit of time of its frames, in seconds.
        rate: frames in a second, on average.
        frames: how many there are; an estimate, for the time left.
        aspect: width of a pixel by its height.
        colors: how the pixels are meant.
        interlaced: whether frames hold two fields of different times.
        origin: the time that becomes 0, in seconds.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    frames: int
    aspect: Fraction
    colors: Colors
    interlaced: bool
    origin: Fraction


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame and when it is shown.

    Attributes:
        frame: pixels as they were stored.
        start: in units of the video's time base, since the origin.
        duration: until the next one, in the same units; of the last, what the file says.
    """

    frame: VideoFrame
    start: int
    duration: int


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Opens a video.

    Raises:
        VideoError: it is not one that ffmpeg can read; names it.
    """
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"{path}: not a readable video: {reason}") from error
    with container:
        yield container


def read_facts(path: Path) -> VideoFacts:
    """Reads the header of a video and its first frame.

    Raises:
        VideoError: it is not a video, or has no frame; names it.
    """
    with open_video(path) as container:
        stream = _video_stream(container, path)
        frame = next((timed.frame for timed in _decoded(container, stream)), None)
        if frame is None or stream.time_base is None:
            raise VideoError(f"{path}: holds no frame that can be decoded")
        rate = stream.average_rate or stream.guessed_rate or _DEFAULT_RATE
        width, height = frame.width, frame.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if quarter_turns(frame) % 2:
            width, height, aspect = height, width, 1 / aspect
        return VideoFacts(
            width,
            height,
            stream.time_base,
            rate,
            stream.frames or _estimate(container, stream, rate),
            aspect,
            Colors.of(frame),
            bool(frame.interlaced_frame),
            _origin(container, stream),
        )


def _origin(container: InputContainer, stream: VideoStream) -> Fraction:
    """What is taken off all times: as ffmpeg does, so much that nothing begins late.

    MPEG transport streams begin at 1.4 seconds, or at hours. Sound may begin before 0 (what an
    encoder needed to start, which players skip), frames must not.
    """
    start = Fraction(container.start_time or 0, av.time_base)
    if start > 0:
        return start
    assert stream.time_base is not None
    return min(Fraction(0), (stream.start_time or 0) * stream.time_base)


def _estimate(container: InputContainer, stream: VideoStream, rate: Fraction) -> int:
    if stream.duration and stream.time_base:
        seconds = stream.duration * stream.time_base
    else:
        seconds = Fraction(container.duration or 0, av.time_base)
    return max(1, round(seconds * rate))


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    # An attached picture (the cover of an album) is a video stream of one frame.
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        raise VideoError(f"{path}: holds no video")
    stream = streams[0]
    stream.thread_type = "AUTO"
    return stream


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


@dataclass
class Damage:
    """What was wrong with a video, counted while it is read.

    Attributes:
        packets: that could not be decoded.
        times: that were missing, or not later than the one before.
    """

    packets: int = 0
    times: int = 0

    def describe(self) -> list[str]:
        """One line for each kind."""
        lines = []
        if self.packets:
            lines.append(f"{self.packets} packets are damaged; their frames are missing or spoilt")
        if self.times:
            lines.append(f"{self.times} frames had no time of their own, and were given one")
        return lines


def read_frames(path: Path, damage: Damage) -> Iterator[TimedFrame]:
    """The frames of a video in the order in which they are shown.

    Args:
        path: the video.
        damage: what is wrong with it is counted here.

    Raises:
        VideoError: it cannot be read, or its frames change their size; names it.
    """
    with open_video(path) as container:
        stream = _video_stream(container, path)
        first: VideoFrame | None = None
        waiting: TimedFrame | None = None
        for timed in _decoded(container, stream, damage):
            frame = timed.frame
            first = first or frame
            if (frame.width, frame.height) != (first.width, first.height):
                raise VideoError(
                    f"{path}: its frames change from {first.width}×{first.height} to "
                    f"{frame.width}×{frame.height} at {float(frame.time or 0):.2f} s; cut it there"
                )
            if waiting is not None:
                yield TimedFrame(waiting.frame, waiting.start, timed.start - waiting.start)
            waiting = timed
        if waiting is not None:
            yield waiting


def _decoded(
    container: InputContainer, stream: VideoStream, damage: Damage | None = None
) -> Iterator[TimedFrame]:
    """Frames, the time of each later than that of the one before."""
    damage = Damage() if damage is None else damage
    assert stream.time_base is not None
    rate = stream.average_rate or stream.guessed_rate or _DEFAULT_RATE
    step = max(1, round(1 / rate / stream.time_base))
    origin = round(_origin(container, stream) / stream.time_base)
    last: int | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            damage.packets += 1
            continue
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            start = None if frame.pts is None else frame.pts - origin
            if start is None:
                start = 0 if last is None else last + step
                damage.times += 1
            elif last is not None and start <= last:
                start = last + 1
                damage.times += 1
            last = start
            yield TimedFrame(frame, start, frame.duration or step)
