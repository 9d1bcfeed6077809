"""Many pictures through one function: in parallel, with a progress bar, and again where it stopped.

A file is written under another name first, so one that is there is complete, and what is there and
not older than its source is left alone. A note in the folder says how its files were made: a run
with other settings is refused instead of mixed in.

Threads, not processes: decoding, resizing and encoding are done by OpenCV and numpy, which release
the interpreter's lock; nothing is imported or copied again, and Ctrl-C reaches one process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from basicsr_mambair.data.image_files import write_bytes
from basicsr_mambair.data.pictures import PictureError

_NOTE = ".prepare.json"
_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt}, {elapsed} passed, {remaining} left"

T = TypeVar("T")
R = TypeVar("R")


class PrepareError(ValueError):
    """What was asked for cannot be prepared; the message names the file or argument."""


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        output: the folder that was filled.
        made: pictures of the source that were worked on.
        kept: pictures whose results were there already.
        failures: what went wrong, a line a picture.
    """

    output: Path
    made: int = 0
    kept: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One picture and the files that it becomes."""

    source: Path
    targets: tuple[Path, ...]

    def is_done(self) -> bool:
        """Whether every target is there and not older than the source."""
        try:
            newest = self.source.stat().st_mtime
            return all(target.stat().st_mtime >= newest for target in self.targets)
        except FileNotFoundError:
            return False


def run_jobs(
    function: Callable[[Job], None],
    jobs: Sequence[Job],
    output: Path,
    settings: dict[str, Any],
    description: str,
    workers: int | None = None,
) -> Outcome:
    """Runs the jobs that are not done.

    Args:
        function: makes the targets of a job; raises ``PictureError`` for a picture it cannot.
        jobs: all of them.
        output: folder of the targets; it is created and gets the note.
        settings: what the results depend on beside the pictures.
        description: beside the progress bar.
        workers: threads; all cores by default.

    Raises:
        PrepareError: two pictures would become one file, a target is a source, or the folder holds
            results of other settings; nothing is written.
    """
    _check_targets(jobs)
    claim(output, settings)
    pending = [job for job in jobs if not job.is_done()]
    outcome = Outcome(output, kept=len(jobs) - len(pending))
    for job, error in each(function, pending, description, workers):
        outcome.made += error is None
        if isinstance(error, PictureError):
            outcome.failures.append(str(error))
        elif error is not None:
            outcome.failures.append(f"{job.source}: {type(error).__name__}: {error}")
    return outcome


def each(
    function: Callable[[T], Any], items: Sequence[T], description: str, workers: int | None = None
) -> Iterator[tuple[T, Exception | None]]:
    """Calls the function for every item, in parallel; yields what is done with its error."""
    for result in map_in_parallel(function, items, description, workers):
        yield result.item, result.error


@dataclass
class _Result(Generic[T, R]):
    item: T
    value: R | None
    error: Exception | None


def map_in_parallel(
    function: Callable[[T], R], items: Sequence[T], description: str, workers: int | None = None
) -> Iterator[_Result[T, R]]:
    """As :func:`each`, with values; at most a few results a thread wait to be taken."""
    workers = workers or os.cpu_count() or 1
    waiting = iter(items)
    running: dict[Future[R], T] = {}
    bar = tqdm(total=len(items), desc=description, bar_format=_BAR, dynamic_ncols=True, leave=False)
    executor = ThreadPoolExecutor(workers)
    try:
        with bar:
            while True:
                for item in waiting:
                    running[executor.submit(function, item)] = item
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(future)
                    error = future.exception()
                    if error is not None and not isinstance(error, Exception):
                        raise error
                    value = None if error is not None else future.result()
                    bar.update()
                    yield _Result(item, value, error)
    except KeyboardInterrupt:
        tqdm.write("stopped; the same command goes on from here")
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _check_targets(jobs: Sequence[Job]) -> None:
    sources = {os.path.normcase(job.source.resolve()) for job in jobs}
    written: dict[str, Path] = {}
    for job in jobs:
        for target in job.targets:
            if os.path.normcase(target.resolve()) in sources:
                raise PrepareError(f"{target}: is a picture of the source; choose another output")
            name = str(target).casefold()  # as file systems may see it
            if name in written:
                raise PrepareError(f"{job.source} and {written[name]} would both become {target}")
            written[name] = job.source


def claim(output: Path, settings: dict[str, Any]) -> None:
    """Notes in a folder how its files are made.

    Raises:
        PrepareError: it says otherwise already, or is no folder.
    """
    note = output / _NOTE
    if output.exists() and not output.is_dir():
        raise PrepareError(f"{output}: is a file, not a folder")
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        before = None
    except ValueError as error:
        raise PrepareError(f"{note}: is damaged; remove it to go on: {error}") from error
    if before is not None and before != settings:
        told = ", ".join(f"{k}: {v}" for k, v in before.items() if settings.get(k) != v)
        raise PrepareError(
            f"{output}: holds results of other settings ({told}); choose another output"
        )
    if before is None:
        text = json.dumps(settings, ensure_ascii=False, indent=1) + "\n"
        write_bytes(text.encode(), note)


def data_set_name(source: Path) -> str:
    """Name of the data set of a folder: its own name, or of the folder above ``HR`` or ``GT``."""
    source = source.resolve()
    return source.parent.name if source.name.upper() in ("HR", "GT") else source.name
