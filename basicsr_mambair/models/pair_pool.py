"""The pool of training pairs, which mixes the pairs of many batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_STREAM = 0x9001  # keeps these draws apart from others of the same seed and iteration


class PairPool:
    """Keeps ``size`` pairs; a full pool gives back a random one for each that it takes.

    In Real-ESRGAN all pairs of a batch share the geometry of their degradation, and the pool brings
    together pairs of different batches (Wang et al. 2021, arXiv 2107.10833, §4.1). Degradations of
    this project are drawn for every picture, so that a small pool, or none, does as well. While
    the pool fills, batches pass through it; where pairs of another size come (the next stage of
    progressive learning), it begins anew.

    Which pair is given back depends on seed, process, iteration and place in the batch alone.

    Args:
        size: pairs to keep; 0: none.
        seed: seed of the run.
        rank: number of this process.
    """

    def __init__(self, size: int, seed: int = 0, rank: int = 0) -> None:
        self.size = size
        self.seed = seed
        self.rank = rank
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def exchange(self, lq: Tensor, gt: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
        """Takes the pairs of a batch and returns as many.

        Args:
            lq: ``(B, C, h, w)``.
            gt: ``(B, C, H, W)``.
            iteration: number of the iteration.
        """
        if not self.size:
            return lq, gt
        if self.pairs and self.pairs[0][0].shape != lq.shape[1:]:
            self.pairs = []
        rng = np.random.default_rng((self.seed, self.rank, iteration, _STREAM))
        pairs = []
        for pair in zip(lq, gt, strict=True):
            pair = (pair[0].clone(), pair[1].clone())  # not views that keep a whole batch alive
            if len(self.pairs) < self.size:
                self.pairs.append(pair)
            else:
                place = int(rng.integers(self.size))
                pair, self.pairs[place] = self.pairs[place], pair
            pairs.append(pair)
        return torch.stack([each[0] for each in pairs]), torch.stack([each[1] for each in pairs])

    def state(self) -> dict[str, Tensor]:
        """Returns the content for a training state; pictures of 8 bits take one byte a value."""
        if not self.pairs:
            return {}
        lq, gt = (torch.stack(each).cpu() for each in zip(*self.pairs, strict=True))
        return {"lq": _packed(lq), "gt": _packed(gt)}

    def load_state(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Puts back what :meth:`state` returned, as far as the pool has room."""
        if not state:
            self.pairs = []
            return
        lq, gt = (_unpacked(state[key]).to(device) for key in ("lq", "gt"))
        self.pairs = list(zip(lq, gt, strict=True))[: self.size]


def _packed(pictures: Tensor) -> Tensor:
    """Pictures as uint8 if that loses nothing, else as they are."""
    levels = (pictures * 255).round().clamp(0, 255).to(torch.uint8)
    return levels if torch.equal(_unpacked(levels), pictures) else pictures


def _unpacked(pictures: Tensor) -> Tensor:
    return pictures.float() / 255 if pictures.dtype == torch.uint8 else pictures
