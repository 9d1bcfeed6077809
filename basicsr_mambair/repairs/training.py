"""Repairs of the training loop: data streams, resuming, optimisers."""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from typing import Any

import numpy as np
import torch

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    "numpy and random are seeded alike in every epoch, so crops repeat; a spawned worker imports "
    "BasicSR unrepaired",
    thread="basicsr/data/__init__.py, worker_init_fn",
)
def loader_workers() -> bool:
    """Seeds a loader's workers from (seed, rank, epoch, worker) and repairs BasicSR in them."""
    import basicsr.data

    if not source_has(basicsr.data.worker_init_fn, "num_workers * rank + worker_id + seed"):
        return False
    original = basicsr.data.build_dataloader

    def build_dataloader(
        dataset: Any,
        dataset_opt: dict,
        num_gpu: int = 1,
        dist: bool = False,
        sampler: Any = None,
        seed: int | None = None,
    ) -> Any:
        if dataset_opt.get("num_worker_per_gpu"):
            dataset = WorkerDataset(dataset)
        loader = original(dataset, dataset_opt, num_gpu, dist, sampler, seed)
        if loader.worker_init_fn is not None:
            rank, _ = basicsr.data.get_dist_info()
            # Workers start anew in every epoch, with the sampler as it is then.
            loader.worker_init_fn = partial(seed_worker, seed=seed, rank=rank, sampler=sampler)
        return loader

    replace(basicsr.data, "build_dataloader", build_dataloader)
    return True


class WorkerDataset(torch.utils.data.Dataset):
    """A dataset that brings the repairs along to a worker process that was spawned.

    Such a process imports the class of what it is given first; of BasicSR's own datasets it would
    import BasicSR before anything has been repaired.
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


@repair(
    "an error in a worker of `prefetch_mode: cpu` is lost and training waits for ever",
    thread="basicsr/data/prefetch_dataloader.py, PrefetchGenerator.run",
)
def prefetch_errors() -> bool:
    """Hands an exception of the prefetching thread to the trainer."""
    from basicsr.data.prefetch_dataloader import PrefetchGenerator

    if source_has(PrefetchGenerator.run, "except"):
        return False
    original_next = PrefetchGenerator.__next__

    def run(self: Any) -> None:
        try:
            for item in self.generator:
                self.queue.put(item)
        except BaseException as error:  # not swallowed: raised again in the trainer's thread
            self.error = error
        self.queue.put(None)

    def __next__(self: Any) -> Any:
        try:
            return original_next(self)
        except StopIteration:
            if getattr(self, "error", None) is not None:
                raise self.error from None
            raise

    replace(PrefetchGenerator, "run", run)
    replace(PrefetchGenerator, "__next__", __next__)
    return True


@repair(
    "resuming asks for the current CUDA device; looks under ./experiments whatever the root",
    thread="basicsr/train.py, load_resume_state",
)
def resume_without_gpu() -> bool:
    """Loads a training state to the CPU, from the folder where training writes it."""
    import basicsr.train

    if not source_has(basicsr.train.load_resume_state, "torch.cuda.current_device()"):
        return False

    def load_resume_state(opt: dict) -> dict | None:
        from basicsr.utils import check_resume

        from mambair.checkpoint import load_checkpoint

        path = opt["path"].get("resume_state")
        if opt["auto_resume"]:
            path = latest_training_state(opt["path"]["training_states"]) or path
            opt["path"]["resume_state"] = path
        if not path:
            return None
        # Optimisers move their state to the device of their parameters.
        state = load_checkpoint(path)
        check_resume(opt, state["iter"])
        return state

    replace(basicsr.train, "load_resume_state", load_resume_state)
    return True


def latest_training_state(folder: str) -> str | None:
    """Path of the ``<iteration>.state`` with the highest iteration; ``None`` if there is none."""
    if not os.path.isdir(folder):
        return None
    stems = [name.removesuffix(".state") for name in os.listdir(folder) if name.endswith(".state")]
    iterations = [int(stem) for stem in stems if stem.isdigit()]
    return os.path.join(folder, f"{max(iterations)}.state") if iterations else None


@repair("Adam is the only optimiser", thread="basicsr/models/base_model.py, get_optimizer")
def every_optimizer() -> bool:
    """Takes any optimiser of ``torch.optim`` by its name."""
    from basicsr.models.base_model import BaseModel

    if not source_has(BaseModel.get_optimizer, "is not supperted yet"):
        return False

    def get_optimizer(
        self: Any, optim_type: str, params: Any, **kwargs: Any
    ) -> torch.optim.Optimizer:
        return optimizer_class(optim_type)(params, **kwargs)

    replace(BaseModel, "get_optimizer", get_optimizer)
    return True


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of ``torch.optim`` with that name; ``ValueError`` names the nearest.

    Not LBFGS and SparseAdam: one wants a closure, the other sparse gradients.
    """
    from mambair.signatures import did_you_mean

    classes = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value not in (torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.SparseAdam)
    }
    if name not in classes:
        raise ValueError(f"torch.optim has no optimiser {name!r}{did_you_mean(name, classes)}")
    return classes[name]
