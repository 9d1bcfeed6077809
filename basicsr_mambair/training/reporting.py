"""What a run tells while it trains: a bar, lines of the log, ``metrics.jsonl``, and trackers."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from basicsr_mambair.progress import training_bar
from basicsr_mambair.runs.metrics import MetricsFile, Record
from basicsr_mambair.runs.resources import resident_memory

_REFRESHED = 0.2  # seconds between two states of the bar


class Reporter:
    """Reports the iterations and validations of a run; in other processes than the first, nothing.

    On a terminal a bar moves below the lines of the log; elsewhere there are the lines alone.

    Args:
        options: the options of the run.
        model: a model of BasicSR.
        tracker: TensorBoard's writer or what takes its place; ``None``: none.
        log: the log of the run.

    Attributes:
        iteration: the last iteration that was made.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        model: Any,
        tracker: Any,
        log: logging.Logger,
    ) -> None:
        from basicsr.utils import AvgTimer

        self.name, self.model = options["name"], model
        self.total, self.processes = int(options["train"]["total_iter"]), options["world_size"]
        self.tracker, self.log = tracker, log
        self.silent, self.iteration = options["rank"] != 0, 0
        self.metrics = MetricsFile(options["path"]["experiments_root"])
        self._reading, self._iterating = AvgTimer(), AvgTimer()
        self._bar: Any = None
        self._samples = 0
        self._begin = self._refreshed = self._started = 0.0
        self._before: list[Record] = []

    def continue_at(self, iteration: int, validates_again: bool) -> None:
        """Removes what an earlier leg of the run has reported beyond the place of resuming.

        Args:
            iteration: the last iteration that was made.
            validates_again: whether the run begins with the validation of that iteration.

        Raises:
            MetricsError: ``metrics.jsonl`` could not be read or written.
        """
        self.iteration = iteration
        if self.silent:
            return
        self._before, notes = self.metrics.keep_until(iteration, validates_again)
        for note in notes:
            self.log.warning(note)

    @contextmanager
    def iterations(self, begin: int) -> Iterator[None]:
        """Shows a bar while the iterations after ``begin`` are made."""
        from tqdm.contrib.logging import logging_redirect_tqdm

        self._begin, self._started = begin, time.monotonic()
        if self.silent:
            yield
            return
        with training_bar(self.total, begin, self.name) as self._bar:
            if self._bar.disable:
                yield
                return
            with logging_redirect_tqdm([self.log]):  # lines of the log go above the bar
                yield

    def starts(self) -> None:
        """An iteration begins, by reading its batch."""
        self._reading.start()
        self._iterating.start()

    def has_read(self, batch: Mapping[str, Any]) -> None:
        """The batch of this process is there; others have as many samples."""
        self._reading.record()
        samples = next((each.shape[0] for each in batch.values() if torch.is_tensor(each)), 0)
        self._samples = samples * self.processes

    def has_stepped(self) -> None:
        """The step is made."""
        self._iterating.record()
        self.iteration += 1
        if self.silent or self._bar.disable:
            return
        self._bar.update()
        if time.monotonic() - self._refreshed > _REFRESHED:
            self._refreshed = time.monotonic()
            values = [f"{key} {value:.4g}" for key, value in self.model.get_current_log().items()]
            values.append(f"lr {self.model.get_current_learning_rate()[0]:.3g}")
            self._bar.set_postfix_str(", ".join([*_in_words(self._speed()), *values]))

    def report(self, iteration: int, epoch: int) -> None:
        """Reports an iteration: the losses that the model has logged, learning rates, speed."""
        if self.silent:
            return
        losses = {key: float(value) for key, value in self.model.get_current_log().items()}
        rates = list(map(float, self.model.get_current_learning_rate()))
        speed = self._speed()
        self.metrics.add(
            {"iter": iteration, "epoch": epoch, "lr": rates, "train": losses, "speed": speed}
        )
        if self.tracker:
            for name, value in losses.items():
                tag = f"losses/{name}" if name.startswith("l_") else name
                self.tracker.add_scalar(tag, value, iteration)
            for number, rate in enumerate(rates):
                self.tracker.add_scalar(f"lr_{number}" if number else "lr", rate, iteration)
            for name, value in speed.items():
                self.tracker.add_scalar(f"speed/{name}", value, iteration)
        each = (time.monotonic() - self._started) / (iteration - self._begin)
        left = datetime.timedelta(seconds=int(each * (self.total - iteration)))
        timing = f"time (data): {speed['seconds']:.3f} ({speed['reading']:.3f})"
        # BasicSR's line, which scripts parse, with the speed added to its second bracket.
        self.log.info(
            f"[{self.name[:5]}..][epoch:{epoch:3d}, iter:{iteration:8,d}, "
            f"lr:({''.join(f'{rate:.3e},' for rate in rates)})] "
            f"[eta: {left}, {', '.join([timing, *_in_words(speed)])}] "
            + "".join(f"{name}: {value:.4e} " for name, value in losses.items())
        )

    def flush(self) -> None:
        """Makes what was reported survive a loss of power.

        Raises:
            MetricsError: it could not be written.
        """
        if not self.silent:
            self.metrics.flush()

    @contextmanager
    def validation(self, iteration: int, dataset: str) -> Iterator[Any]:
        """Gives what a model's validation takes for TensorBoard's writer, and reports its figures.

        Args:
            iteration: the iteration that is validated.
            dataset: name of the data set.
        """
        figures = Figures(self.tracker, f"metrics/{dataset}/")
        yield figures
        if self.silent or not figures.values:
            return
        record = {"iter": iteration, "val": dataset, "metrics": figures.values}
        self.metrics.add(record)
        if self.tracker and record not in self._before:  # an earlier leg has sent those
            for tag, value in figures.tags.items():
                self.tracker.add_scalar(tag, value, iteration)

    def _speed(self) -> dict[str, float]:
        seconds = self._iterating.get_avg_time()
        speed = {
            "seconds": seconds,
            "reading": self._reading.get_avg_time(),
            "images_per_second": self._samples / max(seconds, 1e-9),
        }
        memory = memory_in_use(self.model.device)
        return speed if memory is None else speed | {"memory_mb": round(memory / 1e6, 1)}


def _in_words(speed: Mapping[str, float]) -> list[str]:
    words = [f"{speed['images_per_second']:.3g} images/s"]
    if "memory_mb" in speed:
        words.append(f"{speed['memory_mb']:,.0f} MB")
    return words


class Figures:
    """Stands in for TensorBoard's writer in a validation, and keeps the scalars.

    Everything else that a model writes (pictures, for example) goes to the tracker, or nowhere.

    Args:
        tracker: TensorBoard's writer or what takes its place; ``None``: none.
        prefix: the beginning of tags that name the data set.

    Attributes:
        tags: scalars under the tags that the model gave them.
        values: the same by the name of the metric alone.
    """

    def __init__(self, tracker: Any, prefix: str) -> None:
        self._tracker, self._prefix = tracker, prefix
        self.tags: dict[str, float] = {}
        self.values: dict[str, float] = {}

    def add_scalar(self, tag: str, value: Any, *_: Any, **__: Any) -> None:
        """Keeps a scalar."""
        self.tags[tag] = float(value)
        name = tag.removeprefix(self._prefix).removeprefix("metrics/")  # without the set: videos
        self.values[name] = float(value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name, _ignore)


def _ignore(*_: Any, **__: Any) -> None:
    pass


def memory_in_use(device: Any) -> int | None:
    """Bytes that a training takes: the most of the GPU's so far, or the process's on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resident_memory()
