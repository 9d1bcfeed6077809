"""Runs one function over many pictures: in parallel, with a progress bar, and resumable.

A file is written under a temporary name first, so a file that exists is complete. It gets the
modification time of its source: a file with the time of its source is up to date. A note in the
folder records the source and the settings; a run with another source or other settings is refused
instead of mixed in. A lock keeps a second run out while one is at work.

Threads, not processes: decoding, resizing and encoding are done by OpenCV and numpy, which release
the interpreter's lock; nothing is imported or copied again, and Ctrl-C reaches one process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from tqdm import tqdm

from basicsr_mambair.progress import progress_bar
from mambair.errors import UserError
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import name_some, survey
from mambair.imaging.targets import TargetError, check_targets
from mambair.imaging.writing import write_bytes

_NOTE = ".prepare.json"
_LOCK = ".prepare.lock"

T = TypeVar("T")
R = TypeVar("R")


class PrepareError(UserError, ValueError):
    """The data set cannot be created as requested; the message names the file or argument."""


@dataclass
class Outcome:
    """The result of a run.

    Attributes:
        output: the folder that was filled.
        made: number of pictures that were processed.
        kept: number of pictures whose results existed already.
        failures: one line for each picture that failed.
        left_out: one line for each kind of file of the source that was not taken, where the
            function that made the data set knows better than a look into the folder.
        left_over: one line for each filled folder with pictures that are not made of the source.
        first_alone: pictures with further pages or frames, which were not taken.
    """

    output: Path
    made: int = 0
    kept: int = 0
    failures: list[str] = field(default_factory=list)
    left_out: list[str] | None = None
    left_over: list[str] = field(default_factory=list)
    first_alone: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One picture and the files that it becomes.

    Attributes:
        source: the picture.
        targets: the files.
        outdated: files of an earlier state of the picture, which are removed.
    """

    source: Path
    targets: tuple[Path, ...]
    outdated: tuple[Path, ...] = ()

    def is_done(self) -> bool:
        """Returns whether every target exists and is up to date with the source."""
        if self.outdated:
            return False
        try:
            time = self.source.stat().st_mtime_ns
            return all(target.stat().st_mtime_ns == time for target in self.targets)
        except OSError:  # one of them is missing, or cannot be read: the job will say so
            return False

    def mark_done(self) -> None:
        """Removes what is outdated, and gives the targets the modification time of the source."""
        for path in self.outdated:
            path.unlink(missing_ok=True)
        times = self.source.stat()
        for target in self.targets:
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


@dataclass(frozen=True)
class Output:
    """A folder, its source, and the settings that its files depend on."""

    folder: Path
    source: Path
    settings: dict[str, Any]

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Locks the folder for one run, and records in it how its files are produced.

        Raises:
            PrepareError: the folder is the source, is a file, is in use, or holds results of
                another source or other settings; nothing is written.
        """
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise PrepareError(f"{self.folder}: another run is filling this folder") from None
        try:
            self.check()
            text = json.dumps(self._note(), indent=1) + "\n"
            write_bytes(text.encode(), self.folder / _NOTE)
            yield
        finally:
            lock.release()

    def check(self) -> None:
        """Raises :class:`PrepareError` if the folder cannot be used; writes nothing."""
        folder, note = self.folder, self.folder / _NOTE
        if folder.exists() and not folder.is_dir():
            raise PrepareError(f"{folder}: is a file, not a folder")
        if folder.resolve() == self.source.resolve():
            raise PrepareError(f"{folder}: is the source; choose another output")
        try:
            before = json.loads(note.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError as error:
            raise PrepareError(f"{note}: is damaged; delete it to continue: {error}") from error
        wanted = self._note()
        if before != wanted:
            difference = ", ".join(f"{k}: {v}" for k, v in before.items() if wanted.get(k) != v)
            raise PrepareError(
                f"{folder}: holds results of another source or settings ({difference}); "
                "choose another output"
            )

    @property
    def is_new(self) -> bool:
        """Returns whether no run has filled the folder yet."""
        return not (self.folder / _NOTE).exists()

    def _note(self) -> dict[str, Any]:
        return {**self.settings, "source": str(self.source.resolve())}


def run_jobs(
    function: Callable[[Job], bool],
    jobs: Sequence[Job],
    outputs: Sequence[Output],
    description: str,
    workers: int | None = None,
) -> Outcome:
    """Runs the jobs whose results are missing or outdated.

    Args:
        function: writes the targets of a job; returns whether the picture has further pages or
            frames, which were not taken; raises ``PictureError`` for a bad picture.
        jobs: all jobs, finished ones included.
        outputs: the folders of the targets, one or two.
        description: shown beside the progress bar.
        workers: threads; all cores by default.

    Raises:
        PrepareError: two pictures would become one file, a file is there that was not made here, or
            a folder cannot be filled; nothing is written.
    """
    for output in outputs:
        output.check()
    _check_nothing_is_lost(jobs, outputs)
    outcome = _run_all(function, jobs, outputs, description, workers)
    targets = {target for job in jobs for target in job.targets}
    for output in outputs:
        others = [path for path in survey(output.folder).pictures if path not in targets]
        if others:
            outcome.left_over.append(
                f"{output.folder}: {len(others)} pictures are made of none that was read now, and "
                f"a training would read them; remove them: {name_some(others)}"
            )
    return outcome


def _check_nothing_is_lost(jobs: Sequence[Job], outputs: Sequence[Output]) -> None:
    new = {output.folder for output in outputs if output.is_new}
    there = [
        target
        for job in jobs
        for target in (*job.targets, *job.outdated)
        if target.parent in new and os.path.lexists(target)
    ]
    if there:
        more = f" (and {len(there) - 1} more such files)" if len(there) > 1 else ""
        raise PrepareError(
            f"{there[0]}: is there, and was not made by this command{more}; choose another output"
        )


def _run_all(
    function: Callable[[Job], bool],
    jobs: Sequence[Job],
    outputs: Sequence[Output],
    description: str,
    workers: int | None,
) -> Outcome:
    first, *others = outputs
    try:
        check_targets((job.source, job.targets) for job in jobs)
    except TargetError as error:
        raise PrepareError(str(error)) from error
    if others:
        if others[0].folder.resolve() == first.folder.resolve():
            raise PrepareError(f"{first.folder}: is the folder for two kinds of results")
        with others[0].claimed():
            return _run_all(function, jobs, [first], description, workers)

    def run(job: Job) -> bool:
        first_alone = function(job)
        job.mark_done()
        return first_alone

    with first.claimed():
        pending = [job for job in jobs if not job.is_done()]
        outcome = Outcome(first.folder, kept=len(jobs) - len(pending))
        for result in map_in_parallel(run, pending, description, workers):
            outcome.made += result.error is None
            if result.value:
                outcome.first_alone.append(result.item.source)
            if result.error is not None:
                outcome.failures.append(describe(result.error, result.item.source))
    return outcome


def describe(error: Exception, path: Path) -> str:
    """Returns one line about what went wrong with a picture."""
    if isinstance(error, PictureError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: {error.strerror}"
    return f"{path}: {type(error).__name__}: {error}"


@dataclass
class Result(Generic[T, R]):
    """The value computed for an item, or the error that was raised."""

    item: T
    value: R | None
    error: Exception | None


def map_in_parallel(
    function: Callable[[T], R], items: Sequence[T], description: str, workers: int | None = None
) -> Iterator[Result[T, R]]:
    """Calls the function for every item and yields the results as they are finished.

    Each thread runs at most a few items ahead of the consumer.
    """
    workers = workers or os.cpu_count() or 1
    waiting = iter(items)
    running: dict[Future[R], T] = {}
    executor = ThreadPoolExecutor(workers)
    try:
        with progress_bar(len(items), description) as bar:
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
                    yield Result(item, value, error)
    except KeyboardInterrupt:
        tqdm.write("stopped; the same command continues from here")
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def data_set_name(source: Path) -> str:
    """Names the data set of a folder: the folder itself, or the one above ``HR`` or ``GT``."""
    source = source.resolve()
    return source.parent.name if source.name.upper() in ("HR", "GT") else source.name
