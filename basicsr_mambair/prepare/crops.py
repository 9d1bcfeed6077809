"""Cuts large pictures into squares, so that training need not decode whole pictures."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from basicsr_mambair.prepare.jobs import (
    Job,
    Outcome,
    Output,
    PrepareError,
    map_in_parallel,
    run_jobs,
)
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import list_pictures
from mambair.imaging.reading import picture_size, read_header, read_image
from mambair.imaging.writing import write_image

_SCALE_SUFFIX = re.compile(r"^(.*?)(x\d+)?$", re.DOTALL)  # names may hold line breaks


def make_crops(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    size: int = 480,
    step: int = 240,
    threshold: int = 0,
    workers: int | None = None,
) -> Outcome:
    """Cuts every picture into squares, as BasicSR's ``extract_subimages.py`` does.

    Squares begin every ``step`` pixels; if more than ``threshold`` pixels are left at the right or
    bottom, one more square ends at the border. A side shorter than ``size`` is not cut. The squares
    of ``0001x2.png`` are ``0001_s001x2.png``, …, so that pairs keep their ``filename_tmpl``. For
    low-resolution pictures, divide all three numbers by the scale.

    Args:
        source: folder of pictures.
        output: folder for the squares, PNG.
        size: side of a square, in pixels.
        step: distance between squares, in pixels.
        threshold: remaining pixels at a border that do not get a square of their own.
        workers: threads; all cores by default.

    Raises:
        PictureError: there is no such folder, or no picture in it.
        PrepareError: a number is out of range; or see :func:`run_jobs`.
    """
    squares = Squares(size, step, threshold)
    folder = Path(output)
    pictures = list_pictures(source, keep_unreadable=True)
    settings = {"command": "crops", "size": size, "step": step, "threshold": threshold}
    target = Output(folder, pictures[0].parent, settings)
    target.check()

    def plan(path: Path) -> Job:
        return squares.job(path, picture_size(path), folder, path.stem)

    jobs, failures = [], []
    for result in map_in_parallel(plan, pictures, "sizes", workers):
        if isinstance(result.error, PictureError):
            failures.append(str(result.error))
        elif result.error is not None:
            raise result.error
        elif result.value is not None:
            jobs.append(result.value)
    jobs.sort(key=lambda job: job.source)
    outcome = run_jobs(squares.cut, jobs, [target], f"{size}×{size}", workers)
    outcome.failures += failures
    return outcome


@dataclass(frozen=True)
class Squares:
    """How a picture is cut; see :func:`make_crops`.

    Raises:
        PrepareError: a number is out of range.
    """

    size: int
    step: int
    threshold: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.step < 1 or self.threshold < 0:
            raise PrepareError(
                "size and step must be at least 1 and threshold at least 0, "
                f"got {self.size}, {self.step}, {self.threshold}"
            )

    def job(self, source: Path, sides: tuple[int, ...], folder: Path, name: str) -> Job:
        """Plans the squares of a picture, ``NAME_s001.png``, … (``NAME_s001x2.png``).

        Those that it had when it was larger are outdated.

        Args:
            source: the picture.
            sides: height and width of the picture.
            folder: folder of the squares.
            name: name of the picture without extension.
        """
        count = len(self._starts(sides[0])) * len(self._starts(sides[1]))
        match = _SCALE_SUFFIX.match(name)
        assert match is not None
        name, scale = match[1], match[2] or ""

        def square(index: int) -> Path:
            return folder / f"{name}_s{index:03d}{scale}.png"

        outdated = itertools.takewhile(Path.exists, map(square, itertools.count(count + 1)))
        return Job(source, tuple(map(square, range(1, count + 1))), tuple(outdated))

    def cut(self, job: Job) -> bool:
        """Writes the squares of a picture, a function for :func:`run_jobs`."""
        image = read_image(job.source)
        targets = iter(job.targets)
        for top in self._starts(image.shape[0]):
            for left in self._starts(image.shape[1]):
                write_image(image[top : top + self.size, left : left + self.size], next(targets))
        return read_header(job.source).has_more

    def _starts(self, length: int) -> list[int]:
        """Returns the positions along a side where squares begin."""
        if length <= self.size:
            return [0]
        starts = list(range(0, length - self.size + 1, self.step))
        if length - (starts[-1] + self.size) > self.threshold:
            starts.append(length - self.size)
        return starts
