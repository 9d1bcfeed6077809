"""Pictures of a training that cannot be read and are skipped: counted and named."""

from __future__ import annotations

import logging
from typing import Any

from basicsr_mambair.training.loaders import UNREADABLE


class UnreadablePictures:
    """What the samples of a run say of pictures in whose place they were read.

    Args:
        log: where every picture is named once.
        rank: number of this process, whose pictures are its own; the log of others than the first
            shows errors alone.

    Attributes:
        samples: how many samples were read in another picture's place.
        reasons: what is wrong, a line for each picture.
    """

    def __init__(self, log: logging.Logger, rank: int) -> None:
        self.log, self.level = log, logging.ERROR if rank else logging.WARNING
        self.samples, self.reasons = 0, dict[str, None]()

    def take_from(self, batch: dict[str, Any]) -> None:
        """Takes what a batch says out of it, and names pictures that have not been named."""
        for reasons in batch.pop(UNREADABLE, ()):
            self.samples += bool(reasons)
            for reason in reasons.splitlines():
                if reason not in self.reasons:
                    self.reasons[reason] = None
                    self.log.log(self.level, f"skipped, the next picture takes its place: {reason}")

    def summarize(self) -> None:
        """Logs how many there were, if there were any."""
        if self.samples:
            self.log.log(
                self.level,
                f"{self.samples} samples took the place of pictures that cannot be read "
                f"({len(self.reasons)}, named above); `basicsr prepare check` finds all",
            )
