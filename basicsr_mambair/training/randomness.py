"""The global random generators of a process: seeded by a place, kept and restored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_generators(*key: int) -> None:
    """Seeds ``random``, ``numpy.random`` and torch's CPU generator from numbers.

    Args:
        key: numbers ≥ 0, for example the seed of a run and the position of a sample in it.
    """
    first, second, third = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(first))
    np.random.seed(int(second))
    # Not torch.manual_seed, which seeds the devices' generators too.
    torch.default_generator.manual_seed(int(third))


def random_state() -> dict[str, Any]:
    """The states of the generators of this process, as a checkpoint can hold them."""
    algorithm, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (
            algorithm,
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Sets the generators of this process to what :func:`random_state` returned.

    The generators of GPUs are left as they are if there is another number of GPUs.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    algorithm, keys, *rest = state["numpy"]
    np.random.set_state((algorithm, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def separate_randomness(devices: bool = False) -> Iterator[None]:
    """Leaves the generators after a block as they were before it, whatever it drew.

    Args:
        devices: also those of GPUs.
    """
    before = random_state() if devices else None
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        if before is not None:
            restore_random_state(before)
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
