"""Averages of weights: the decay of the moving average, and schedule-free optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from basicsr_mambair.options.optimizers import is_schedule_free


def ema_decay_at(iteration: int, decay: float, start: int = 0, warmup: bool = False) -> float:
    """Returns the decay of the moving average after an iteration.

    Until ``start`` the average follows the weights (decay 0). A constant decay d remembers the
    weights of ``start`` for some 1 / (1 − d) iterations; with ``warmup`` the decay of the n-th
    later iteration is ``min(d, (1 + n) / (10 + n))``, so that a short training does not end with
    an average of its beginning (the usual schedule, as in TensorFlow's
    ``ExponentialMovingAverage`` with ``num_updates``).

    Args:
        iteration: number of the iteration, from 1.
        decay: final decay d, in [0, 1).
        start: iteration up to which the average follows the weights.
        warmup: whether the decay rises to its final value.
    """
    if iteration <= start:
        return 0.0
    updates = iteration - start
    return min(decay, (1 + updates) / (10 + updates)) if warmup else decay


class ScheduleFree:
    """Switches schedule-free optimizers between the weights they train and those to use.

    Such optimizers (Defazio et al. 2024, arXiv 2405.15682) compute gradients at one point and
    average another; ``train()`` and ``eval()`` put one or the other into the network. Converting
    back and forth rounds, so the training weights are kept and restored exactly: a training does
    not depend on how often it was validated, saved or resumed. Other optimizers are left alone.

    Args:
        optimizers: the optimizers of a model.
    """

    def __init__(self, optimizers: Iterable[Any]) -> None:
        self.optimizers = [each for each in optimizers if is_schedule_free(each)]
        self._kept: list[list[Tensor]] | None = None

    def train(self) -> None:
        """Puts the training weights into the network."""
        for optimizer in self.optimizers:
            optimizer.train()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averaged weights, which are those to use, into the network for a while."""
        if self._kept is not None:  # a validation that saves
            yield
            return
        self._kept = self.state()
        for optimizer in self.optimizers:
            optimizer.eval()
        try:
            yield
        finally:
            kept, self._kept = self._kept, None
            self.load_state(kept)

    def state(self) -> list[list[Tensor]]:
        """Returns copies of the training weights, one list for each optimizer."""
        if self._kept is not None:
            return self._kept
        self.train()
        return [[p.detach().clone() for p in _parameters(each)] for each in self.optimizers]

    @torch.no_grad()
    def load_state(self, state: list[list[Tensor]]) -> None:
        """Puts training weights that :meth:`state` returned into the network."""
        self.train()
        for optimizer, saved in zip(self.optimizers, state, strict=True):
            for parameter, value in zip(_parameters(optimizer), saved, strict=True):
                parameter.copy_(value)


def _parameters(optimizer: Any) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
