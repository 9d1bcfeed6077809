"""From finished parts and the source's sound to the result; nothing is encoded again."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from mambair.atomic import remove_leftovers, write_atomically
from realesrgan_compat.video.errors import VideoError
from realesrgan_compat.video.source import open_video

FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
TimedPacket = tuple[Fraction, "Packet[Any]"]
_KINDS = ("audio", "subtitle")  # streams that are copied


@dataclass
class Copied:
    """The streams of a source beside its video.

    Attributes:
        copied: their numbers.
        left_out: a few words for each that the container cannot hold.
        sound_is_left_out: whether sound is among those.
    """

    copied: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    sound_is_left_out: bool = False


def copied_streams(source: Path, extension: str) -> Copied:
    """Which streams of a source a container can hold.

    Args:
        source: the video.
        extension: ``.mp4``, ``.mkv`` or ``.mov``.

    Raises:
        VideoError: the source cannot be read.
    """
    result = Copied()
    import io

    with (
        open_video(source) as container,
        av.open(io.BytesIO(), "w", format=FORMATS[extension]) as output,
    ):
        seen_video = False
        for stream in container.streams:
            if stream.type == "video" and not seen_video:
                seen_video = True
                continue
            codec = stream.codec_context.name if stream.codec_context is not None else None
            if stream.type in _KINDS and codec and _holds(output, stream, codec):
                result.copied.append(stream.index)
            else:
                result.left_out.append(f"{stream.type} {stream.index} ({codec or 'unknown'})")
                result.sound_is_left_out |= stream.type == "audio"
    return result


def _holds(output: OutputContainer, stream: Stream, codec: str) -> bool:
    names = {codec, stream.codec_context.codec.canonical_name}
    return bool(names & set(output.supported_codecs))


def join(
    source: Path, parts: Sequence[Path], target: Path, time_base: Fraction, origin: Fraction
) -> None:
    """Writes the result, so that ``target`` is its old self or complete.

    Frames keep the times that they have in the parts; sound is copied packet by packet.

    Args:
        source: the video that sound comes from.
        parts: in order.
        target: its extension names the format.
        time_base: that of the parts.
        origin: the time of the source that is 0 in the parts, in seconds.

    Raises:
        VideoError: something cannot be read or written.
    """
    copied = copied_streams(source, target.suffix).copied
    remove_leftovers(target)

    def write(file: BinaryIO) -> None:
        with (
            open_video(source) as sound,
            open_video(parts[0]) as first,
            av.open(file, "w", format=FORMATS[target.suffix]) as output,
        ):
            output.metadata.update(
                {key: value for key, value in sound.metadata.items() if key in _METADATA}
            )
            video = output.add_stream_from_template(first.streams.video[0])
            video.time_base = time_base
            streams: dict[int, Stream] = {}
            for index in copied:
                original = sound.streams[index]
                streams[index] = output.add_stream_from_template(original)
                streams[index].metadata.update(original.metadata)
            flows = [_video_packets(parts, time_base, video)]
            if streams:
                flows.append(_sound_packets(sound, streams, origin))
            for _, packet in heapq.merge(*flows, key=lambda each: each[0]):
                output.mux(packet)

    try:
        write_atomically(target, write)
    except av.FFmpegError as error:
        raise VideoError(f"{target}: cannot be written: {error.strerror or error}") from error
    except OSError as error:
        raise VideoError(f"{target}: cannot be written: {error.strerror or error}") from error


_METADATA = ("title", "artist", "album", "date", "comment", "description", "genre", "copyright")


def _video_packets(
    parts: Sequence[Path], time_base: Fraction, stream: VideoStream
) -> Iterator[TimedPacket]:
    """Packets of all parts with their times; those of decoding are made for the whole.

    Decoders need each packet before its frame is shown. Every part was encoded as if it were the
    first, so that the times of decoding overlap where two meet. They are made again: the n-th
    packet is decoded when the frame is shown that comes so many places before the n-th as packets
    are out of order.
    """
    starts = [start for part in parts for start in _starts(part, time_base)]
    shown = sorted(starts)
    delay = max(n - bisect_left(shown, start) for n, start in enumerate(starts))
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    number = 0
    for part in parts:
        with open_video(part) as container:
            for packet in container.demux(container.streams.video[0]):
                if not packet.size:
                    continue
                place = number - delay
                decoded = shown[place] if place >= 0 else shown[0] + place * step
                packet.pts, packet.dts = starts[number], decoded
                following = bisect_left(shown, starts[number]) + 1
                packet.duration = (
                    shown[following] - starts[number] if following < len(shown) else step
                )
                packet.time_base = time_base
                packet.stream = stream
                number += 1
                yield packet.dts * time_base, packet


def _starts(part: Path, time_base: Fraction) -> Iterator[int]:
    """When the frame of each packet is shown, in the order of packets."""
    with open_video(part) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                assert packet.pts is not None
                start = packet.pts * packet.time_base / time_base
                if start.denominator != 1:
                    raise VideoError(f"{part}: its times are not those that were written")
                yield start.numerator


def _sound_packets(
    container: InputContainer, streams: dict[int, Stream], origin: Fraction
) -> Iterator[TimedPacket]:
    for packet in container.demux([container.streams[index] for index in streams]):
        if not packet.size or packet.dts is None:
            continue
        shift = round(origin / packet.time_base)
        if packet.pts is not None:
            packet.pts -= shift
        packet.dts -= shift
        packet.stream = streams[packet.stream_index]
        yield packet.dts * packet.time_base, packet
