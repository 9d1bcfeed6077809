"""Geometric self-ensemble: the mean over the eight orientations of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor


def self_ensemble(net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Applies a network to every flip and transposition and averages the results (the "+" rows).

    Lim et al., "Enhanced Deep Residual Networks" (EDSR), CVPRW 2017, section 3.3.

    Args:
        net: maps ``(B, C, H, W)`` to ``(B, C', s·H, s·W)``.
        x: ``(B, C, H, W)``.

    Returns:
        ``(B, C', s·H, s·W)``.
    """
    total: Tensor | None = None
    for forth, back in _orientations():
        y = back(net(forth(x)))
        total = y if total is None else total + y
    assert total is not None
    return total / 8


Orientation = Callable[[Tensor], Tensor]


def _orientations() -> Iterator[tuple[Orientation, Orientation]]:
    """The eight symmetries of a square, each with its inverse."""
    for transpose in (False, True):
        for dims in ((), (-1,), (-2,), (-2, -1)):
            yield partial(_turn, dims, transpose), partial(_turn_back, dims, transpose)


def _turn(dims: tuple[int, ...], transpose: bool, x: Tensor) -> Tensor:
    x = torch.flip(x, dims)
    return x.transpose(-2, -1) if transpose else x


def _turn_back(dims: tuple[int, ...], transpose: bool, y: Tensor) -> Tensor:
    return torch.flip(y.transpose(-2, -1) if transpose else y, dims)
