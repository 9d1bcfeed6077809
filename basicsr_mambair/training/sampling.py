"""Which sample stands where in a run: a function of seed and position alone.

The samples of a run are numbered from 0, whatever the number of processes and of loader workers.
Iteration *k* trains on the next ``batch`` positions; each process takes its slice of them. A run
can therefore begin anywhere, and the same global batch is the same on any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler


class Place(NamedTuple):
    """A sample of a run.

    Attributes:
        position: its number in the run, which seeds its crop and degradation.
        picture: its number in the dataset.
    """

    position: int
    picture: int


class RunSampler(Sampler[Place]):
    """The samples of one process from one position of a run to another.

    Every epoch has its own order of the pictures, enlarged as BasicSR's ``EnlargedSampler`` does.
    A batch may begin in one epoch and end in the next: no picture is left out, and there may be
    fewer pictures than a batch has.

    Args:
        pictures: number of samples in the dataset.
        ratio: how many times an epoch goes through the pictures.
        seed: seed of the run.
        batch: samples in a batch of one process.
        start: position of the first sample of the run that is wanted.
        batches: batches to give.
        rank: number of this process.
        processes: number of processes.
    """

    def __init__(
        self,
        pictures: int,
        ratio: float,
        seed: int,
        batch: int,
        *,
        start: int = 0,
        batches: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.pictures, self.seed, self.batch = pictures, seed, batch
        self.period = max(1, math.ceil(pictures * ratio))
        self.start, self.batches = start, batches
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return self.batches * self.batch

    def __iter__(self) -> Iterator[Place]:
        epoch, order = -1, torch.empty(0)
        for number in range(self.batches):
            first = self.start + (number * self.processes + self.rank) * self.batch
            for position in range(first, first + self.batch):
                if position // self.period != epoch:
                    epoch = position // self.period
                    order = self._order(epoch)
                yield Place(position, int(order[position % self.period]) % self.pictures)

    def _order(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator()
        generator.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))
        return torch.randperm(self.period, generator=generator)


def samples_per_process(options: dict[str, Any]) -> int:
    """The size of a batch of one process, of all its GPUs together."""
    batch: int = options["datasets"]["train"]["batch_size_per_gpu"]
    return batch if options["dist"] else batch * max(1, options["num_gpu"])
