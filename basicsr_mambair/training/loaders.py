"""Loaders whose workers draw different crops in every epoch, and can be started anew."""

from __future__ import annotations

import random
import signal
from functools import partial
from typing import Any

import numpy as np
import torch


def prepare_workers(loader: Any, sampler: Any, seed: int | None) -> None:
    """Seeds a loader's workers from (seed, rank, epoch, worker), anew in every epoch.

    Args:
        loader: a ``DataLoader`` whose workers BasicSR seeds, or one without.
        sampler: holds the epoch.
        seed: seed of the run.
    """
    from basicsr.utils.dist_util import get_dist_info

    if loader.worker_init_fn is not None:
        rank, _ = get_dist_info()
        # Workers start anew in every epoch, with the sampler as it is then.
        loader.worker_init_fn = partial(seed_worker, seed=seed, rank=rank, sampler=sampler)


class WorkerDataset(torch.utils.data.Dataset[Any]):
    """A dataset that brings the plugin along to a worker process that was spawned.

    Such a process first imports the class of the dataset that it receives. For one of BasicSR's own
    datasets, it would import BasicSR before anything has been repaired.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.opt = dataset.opt if hasattr(dataset, "opt") else {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


def seed_worker(worker_id: int, seed: int | None, rank: int, sampler: Any) -> None:
    """Seeds ``random`` and ``numpy.random`` of a loader's worker; leaves Ctrl-C to the trainer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    epoch = getattr(sampler, "epoch", 0)
    first, second = np.random.SeedSequence([seed or 0, rank, epoch, worker_id]).generate_state(2)
    random.seed(int(first))
    np.random.seed(int(second))
