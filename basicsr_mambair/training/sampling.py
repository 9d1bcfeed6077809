"""Which sample stands where in a run: a function of seed and position alone.

The samples of a run are numbered from 0, whatever the number of processes and of loader workers.
An iteration trains on the next positions, as many as the batch of its stage has; each process
takes its slice of them. A run can therefore begin anywhere, in any stage, and a global batch is the
same on any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from basicsr_mambair.options.progressive import Stages


class Place(NamedTuple):
    """A sample of a run.

    Attributes:
        position: its number in the run, which seeds its crop and degradation.
        picture: its number in the dataset.
        gt_size: side of its crop; ``None``: as the dataset's options say.
    """

    position: int
    picture: int
    gt_size: int | None = None


class RunSampler(Sampler[list[Place]]):
    """The batches of one process from one iteration of a run to another.

    Every epoch has its own order of the pictures, enlarged as BasicSR's ``EnlargedSampler`` does.
    A batch may begin in one epoch and end in the next: no picture is left out, and there may be
    fewer pictures than a batch has. Batches and crops have the sizes of their stage.

    Args:
        pictures: number of samples in the dataset.
        ratio: how many times an epoch goes through the pictures.
        seed: seed of the run.
        stages: sizes of batches and crops by iteration.
        last: last iteration that is wanted.
        done: iterations that have been made.
        start: position of the first sample of the run that is wanted; by default the number of
            samples in the iterations that have been made.
        rank: number of this process.
        processes: number of processes.
    """

    def __init__(
        self,
        pictures: int,
        ratio: float,
        seed: int,
        stages: Stages,
        last: int,
        *,
        done: int = 0,
        start: int | None = None,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.pictures, self.seed, self.stages = pictures, seed, stages
        self.period = max(1, math.ceil(pictures * ratio))
        self.last, self.done = last, done
        self.rank, self.processes = rank, processes
        self.start = stages.samples(done) * processes if start is None else start

    def __len__(self) -> int:
        return max(0, self.last - self.done)

    def position_before(self, iteration: int) -> int:
        """The position of the first sample of an iteration, over all processes."""
        before = self.stages.samples(iteration - 1) - self.stages.samples(self.done)
        return self.start + before * self.processes

    def __iter__(self) -> Iterator[list[Place]]:
        epoch, order = -1, torch.empty(0)
        for iteration in range(self.done + 1, self.last + 1):
            stage, batch = self.stages.at(iteration), []
            first = self.position_before(iteration) + self.rank * stage.batch
            for position in range(first, first + stage.batch):
                if position // self.period != epoch:
                    epoch = position // self.period
                    order = self._order(epoch)
                picture = int(order[position % self.period]) % self.pictures
                batch.append(Place(position, picture, stage.gt_size))
            yield batch

    def _order(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator()
        generator.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))
        return torch.randperm(self.period, generator=generator)


def stages_of(options: dict[str, Any]) -> Stages:
    """The stages of a run; a batch is that of one process, of all its GPUs together."""
    times = 1 if options["dist"] else max(1, options["num_gpu"])
    return Stages.of(options["datasets"]["train"], times)
