"""Loaders whose samples do not depend on workers: each is seeded by its position in the run."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from basicsr_mambair.runs.fingerprint import listed_files
from basicsr_mambair.training.interrupts import leave_signals_to_the_trainer
from basicsr_mambair.training.randomness import seed_generators, separate_randomness
from basicsr_mambair.training.sampling import Place, RunSampler
from mambair.errors import UserError

UNREADABLE = "unreadable"
"""Key of a sample under which pictures stand in whose place it was read, a line each."""


class SampleError(UserError):
    """A sample cannot be read; names the picture.

    Args:
        message: what is wrong. A loader's worker hands the error over within its traceback, of
            which the last line is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class WorkerDiedError(UserError):
    """A loader's worker has died; the message names it."""


class SeededDataset(torch.utils.data.Dataset[Any]):
    """A dataset whose samples are a function of the seed and of their place in the run.

    Before a sample is read, ``random``, ``numpy.random`` and torch are seeded from the seed and the
    position, so that crops, flips and degradations are the same in every worker, and after a
    resume. It also brings the plugin along to a worker process that was spawned: such a process
    first imports the class of the dataset that it receives, and for one of BasicSR's own it would
    import BasicSR before anything has been repaired.

    Args:
        dataset: any dataset; its other attributes are those of this one.
        seed: seed of the run.
        by_index: whether an index alone is a place, as in validation. In the epochs of a trainer
            that is not ours it is not: the crops of a picture would always be the same.
        skips: whether the next picture takes the place of one that cannot be read; samples then
            say so under :data:`UNREADABLE`.
    """

    def __init__(self, dataset: Any, seed: int | None, by_index: bool, skips: bool = False) -> None:
        self.dataset = dataset
        self.seed = seed or 0
        self.by_index, self.skips = by_index, skips
        self.opt = dataset.opt if hasattr(dataset, "opt") else {}

    def __getattr__(self, name: str) -> Any:
        # Dunder names are not passed on: pickle and the loader ask for them.
        if name.startswith("__") or "dataset" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Place | int) -> Any:
        """Returns the sample at a place.

        Raises:
            SampleError: its picture cannot be read; or, if such are skipped, none can.
        """
        if not isinstance(place, Place):
            if not self.by_index:
                return self.dataset[place]
            place = Place(place, place)
        if place.gt_size is not None:
            # Datasets of BasicSR's kind look this option up for every sample.
            self.opt["gt_size"] = place.gt_size
        sample = self._read_or_next(place) if self.skips else self._read(place)
        _check_size(sample, place.gt_size, type(self.dataset).__name__)
        return sample

    def _read(self, place: Place) -> Any:
        with separate_randomness():
            seed_generators(self.seed, place.position)
            try:
                return self.dataset[place.picture]
            except Exception as error:
                reason = _reason(error, self.dataset, place.picture)
                if reason is None:
                    raise
                raise SampleError(" ".join(reason.split())) from error

    def _read_or_next(self, place: Place) -> Any:
        """Reads the first picture that can be read, from that of the place on."""
        wrong: list[str] = []
        for step in range(len(self.dataset)):
            try:
                sample = self._read(place._replace(picture=(place.picture + step) % len(self)))
            except SampleError as error:
                wrong.append(str(error))
            else:
                return {**sample, UNREADABLE: "\n".join(wrong)}
        raise SampleError(f"no picture of the data set can be read; the last: {wrong[-1]}")


def _check_size(sample: Any, gt_size: int | None, name: str) -> None:
    """Refuses a pair whose dataset does not look up the size of its crops for every sample."""
    if gt_size is None or "lq" not in sample or "gt" not in sample:
        return  # a model crops true pictures that it degrades
    height, width = sample["gt"].shape[-2:]
    if (height, width) != (gt_size, gt_size):
        raise SampleError(
            f"datasets.train.gt_sizes: this stage has crops of {gt_size}×{gt_size}, but {name} "
            f"reads {height}×{width}"
        )


def _reason(error: Exception, dataset: Any, picture: int) -> str | None:
    """Says why a picture cannot be read; ``None``: the error is another."""
    if isinstance(error, UserError):
        return str(error)
    *_, frame = traceback.walk_tb(error.__traceback__)
    module = str(frame[0].f_globals.get("__name__"))
    if module.startswith("basicsr.data.") and isinstance(error, ValueError):
        return str(error)  # smaller than its crop; the message names it
    if module in ("basicsr.utils.img_util", "basicsr.utils.file_client"):
        # Where OpenCV decodes nothing, BasicSR goes on with None.
        why = error.strerror if isinstance(error, OSError) else "not a picture, or a damaged one"
        files = listed_files(dataset, picture) or [f"sample {picture}"]
        return f"{' or '.join(dict.fromkeys(files))}: cannot be read: {why}"
    return None


def build_run_loader(
    dataset: Any, section: dict[str, Any], sampler: RunSampler, workers: int
) -> torch.utils.data.DataLoader[Any]:
    """The loader of a run: one pass over its batches, whose sizes may change.

    Args:
        dataset: any dataset.
        section: its section of the options.
        sampler: the batches.
        workers: processes that read.
    """
    loader = torch.utils.data.DataLoader(
        SeededDataset(dataset, sampler.seed, False, section.get("on_bad_image") == "skip"),
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=bool(section.get("pin_memory", False)),
        worker_init_fn=partial(seed_worker, seed=sampler.seed, rank=sampler.rank, sampler=None),
    )
    prepare_loader(loader, section, sampler, sampler.seed, sampler.rank)
    return loader


def adapt_section(section: dict[str, Any]) -> dict[str, Any]:
    """A dataset section whose ``prefetch_mode: cpu`` and ``persistent_workers`` cannot hang.

    BasicSR's ``prefetch_mode: cpu`` reads in a thread, which shares the generators of the trainer
    and the workers of the next epoch. Workers that read further ahead do the same
    (:func:`prepare_loader`).
    """
    section = dict(section)
    if section.get("prefetch_mode") == "cpu":
        section["prefetch_mode"] = None
    if section["phase"] != "train" or not section.get("num_worker_per_gpu"):
        section["persistent_workers"] = False  # torch refuses it without workers
    return section


def prepare_loader(
    loader: Any, section: dict[str, Any], sampler: Any, seed: int | None, rank: int
) -> None:
    """Completes a loader that BasicSR built.

    Args:
        loader: a ``DataLoader``.
        section: the dataset's section as the option file has it.
        sampler: holds the epoch, if the trainer is not ours.
        seed: seed of the run.
        rank: number of this process.
    """
    # A generator of its own: the loader draws a number from it whenever it starts.
    loader.generator = torch.Generator()
    if loader.num_workers == 0:
        return
    if section.get("prefetch_mode") == "cpu":
        ahead = math.ceil(section.get("num_prefetch_queue", 1) / loader.num_workers)
        loader.prefetch_factor += ahead
    if loader.worker_init_fn is not None:
        # Where workers start anew in every epoch, they see the sampler as it is then.
        loader.worker_init_fn = partial(seed_worker, seed=seed, rank=rank, sampler=sampler)


@contextmanager
def living_workers() -> Iterator[None]:
    """Says in one line that a process that reads pictures has died, which may come at any time.

    Raises:
        WorkerDiedError: one has.
    """
    try:
        yield
    except (RuntimeError, EOFError, OSError) as error:
        reason = _death(error)
        if reason is None:
            raise
        raise WorkerDiedError(
            f"a process that reads pictures has died ({reason}); if memory ran out, "
            "lower datasets.train.num_worker_per_gpu"
        ) from error


def _death(error: BaseException) -> str | None:
    """What an error says about a worker that has died; ``None`` if it is about something else."""
    if isinstance(error, RuntimeError):  # raised by PyTorch's handler of SIGCHLD, anywhere
        text = str(error)
        return text.splitlines()[0].strip() if text.startswith("DataLoader worker") else None
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    if all(each.f_globals.get("__name__") != "torch.multiprocessing.reductions" for each in frames):
        return None
    # It died between announcing a batch and handing it over, so its connection has failed. The
    # signal follows within moments, and would otherwise interrupt whatever comes next.
    try:
        time.sleep(1)
    except RuntimeError as told:
        return _death(told)
    return "a batch could not be fetched from it"


def seed_worker(worker_id: int, seed: int | None, rank: int, sampler: Any) -> None:
    """Leaves signals to the trainer; seeds a loader's worker where samples have no position."""
    leave_signals_to_the_trainer()
    seed_generators(seed or 0, rank, getattr(sampler, "epoch", 0), worker_id)
