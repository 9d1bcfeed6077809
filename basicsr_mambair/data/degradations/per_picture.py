"""Batches of which every picture is degraded by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


def degrade_each(
    degrade: Callable[[Tensor, dict[str, Any]], Tensor],
    images: Tensor,
    drawn: Sequence[dict[str, Any]],
) -> Tensor:
    """Degrades the pictures of a batch that cannot be computed together: sizes or steps differ.

    On a CPU, each thread of PyTorch takes whole pictures. That is faster than sharing the small
    operations of a single one, and the bits of a result no longer depend on the number of threads.

    Args:
        degrade: takes ``(1, C, H, W)`` and its draw; must not change the picture in place.
        images: ``(B, C, H, W)``.
        drawn: B draws.

    Returns:
        The results as one batch.
    """
    pairs = list(zip(torch.split(images, 1), drawn, strict=True))
    all_threads = torch.get_num_threads()
    threads = min(all_threads, len(pairs))
    if images.device.type != "cpu" or threads < 2:
        return torch.cat([degrade(*pair) for pair in pairs])
    with_gradients = torch.is_grad_enabled()  # each thread has this switch for itself

    def run(pair: tuple[Tensor, dict[str, Any]]) -> Tensor:
        with torch.set_grad_enabled(with_gradients):
            return degrade(*pair)

    try:
        # A pool of its own for each batch: one that lives on does not survive a fork.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(run, pairs)))
    finally:
        torch.set_num_threads(all_threads)  # the default of threads to come is shared by all
