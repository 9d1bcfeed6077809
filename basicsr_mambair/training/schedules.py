"""Schedules of the learning rate that BasicSR lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, get_position_from_periods


class CosineAnnealingRestartCyclicLR(CosineAnnealingRestartLR):  # type: ignore[misc]  # no types
    """Cosines one after the other, each with an end of its own.

    In period *i*, *t* steps after its begin, the rate is
    η_i + w_i · ½ (base − η_i) (1 + cos(π t / period_i)). A period whose η_i is the base rate is
    constant, as the first in Restormer's recipe (Zamir et al., CVPR 2022, arXiv 2111.09881).

    Args:
        optimizer: the optimizer.
        periods: steps of every cosine.
        restart_weights: w, one for each period.
        eta_mins: η, one for each period.
        last_epoch: steps that have been made; -1: none.

    Raises:
        ValueError: the lists have different lengths.
    """

    def __init__(
        self,
        optimizer: Any,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        eta_mins: Sequence[float] = (0,),
        last_epoch: int = -1,
    ) -> None:
        if not len(periods) == len(restart_weights) == len(eta_mins):
            raise ValueError(
                "periods, restart_weights and eta_mins must have the same length, have "
                f"{len(periods)}, {len(restart_weights)} and {len(eta_mins)}"
            )
        self.eta_mins = eta_mins  # before the base class, which sets the first rate
        super().__init__(optimizer, periods, restart_weights, last_epoch=last_epoch)

    def get_lr(self) -> list[float]:
        """The rates of the parameter groups after ``last_epoch`` steps."""
        index = get_position_from_periods(self.last_epoch, self.cumulative_period)
        begin = self.cumulative_period[index] - self.periods[index]
        part = (self.last_epoch - begin) / self.periods[index]
        end, weight = self.eta_mins[index], self.restart_weights[index]
        return [
            end + weight * 0.5 * (base - end) * (1 + math.cos(math.pi * part))
            for base in self.base_lrs
        ]
