"""When each frame of the result is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from av import VideoFrame

from realesrgan_compat.video.source import TimedFrame, VideoFacts


@dataclass(frozen=True)
class Timing:
    """The unit of time of a result.

    Attributes:
        time_base: in seconds.
        rate: frames in a second: exact with a fixed rate, otherwise on average.
        fixed: whether frames are shown at equal distances.
    """

    time_base: Fraction
    rate: Fraction
    fixed: bool

    @classmethod
    def of(cls, facts: VideoFacts, fps: Fraction | None) -> Timing:
        """That of the source, whose frames may come at any distance; or a fixed one."""
        if fps is None:
            return cls(facts.time_base, facts.rate, False)
        return cls(1 / fps, fps, True)

    def schedule(
        self, frames: Iterable[TimedFrame], source: Fraction
    ) -> Iterator[tuple[int, VideoFrame]]:
        """What is shown from when on.

        Args:
            frames: of the source.
            source: its time base.

        Yields:
            The start in units of :attr:`time_base`, and the frame. With a fixed rate a frame of the
            source is shown from the tick nearest to its start until the next one's: some appear
            several times (as the same object), some not at all. The length stays, so that sound
            fits.
        """
        for timed in frames:
            if not self.fixed:
                yield timed.start, timed.frame
                continue
            first = round(timed.start * source * self.rate)
            end = round((timed.start + timed.duration) * source * self.rate)
            for tick in range(first, end):
                yield tick, timed.frame
