"""Cuts large pictures into squares, so that training need not decode whole pictures."""

from __future__ import annotations

import os
import re
from functools import partial
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
from mambair.imaging.reading import picture_size, read_image
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
    if size < 1 or step < 1 or threshold < 0:
        raise PrepareError(
            f"size and step must be at least 1 and threshold at least 0, got {size}, {step}, "
            f"{threshold}"
        )
    folder = Path(output)
    pictures = list_pictures(source, keep_unreadable=True)
    settings = {"command": "crops", "size": size, "step": step, "threshold": threshold}
    target = Output(folder, pictures[0].parent, settings)
    target.check()

    def plan(path: Path) -> Job:
        height, width = picture_size(path)
        rows = len(_starts(height, size, step, threshold))
        columns = len(_starts(width, size, step, threshold))
        return Job(path, tuple(_targets(path, folder, rows * columns)))

    jobs, failures = [], []
    for result in map_in_parallel(plan, pictures, "sizes", workers):
        if isinstance(result.error, PictureError):
            failures.append(str(result.error))
        elif result.error is not None:
            raise result.error
        elif result.value is not None:
            jobs.append(result.value)
    jobs.sort(key=lambda job: job.source)
    cut = partial(_cut, size=size, step=step, threshold=threshold)
    outcome = run_jobs(cut, jobs, [target], f"{size}×{size}", workers)
    outcome.failures += failures
    return outcome


def _targets(path: Path, folder: Path, count: int) -> list[Path]:
    match = _SCALE_SUFFIX.match(path.stem)
    assert match is not None
    name, scale = match[1], match[2] or ""
    return [folder / f"{name}_s{index:03d}{scale}.png" for index in range(1, count + 1)]


def _starts(length: int, size: int, step: int, threshold: int) -> list[int]:
    """Returns the positions along a side where squares begin."""
    if length <= size:
        return [0]
    starts = list(range(0, length - size + 1, step))
    if length - (starts[-1] + size) > threshold:
        starts.append(length - size)
    return starts


def _cut(job: Job, size: int, step: int, threshold: int) -> None:
    image = read_image(job.source)
    targets = iter(job.targets)
    for top in _starts(image.shape[0], size, step, threshold):
        for left in _starts(image.shape[1], size, step, threshold):
            write_image(image[top : top + size, left : left + size], next(targets))
