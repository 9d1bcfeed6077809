"""The schedule of Restormer's recipes, against its formula."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from basicsr_mambair.training.schedules import CosineAnnealingRestartCyclicLR
from tests.basicsr_mambair.training.runs import Runs, contents

PERIODS, WEIGHTS, ENDS, BASE = [6, 14], [1, 0.5], [3e-4, 1e-6], 3e-4


def expected(steps: int) -> float:
    """η_i + w_i · ½ (base − η_i)(1 + cos(πt / period_i)), t steps after the begin of period i."""
    index = 0 if steps <= PERIODS[0] else 1
    t = steps - sum(PERIODS[:index])
    cosine = 1 + math.cos(math.pi * t / PERIODS[index])
    return ENDS[index] + WEIGHTS[index] * 0.5 * (BASE - ENDS[index]) * cosine


def test_every_rate_is_that_of_the_formula() -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    schedule = CosineAnnealingRestartCyclicLR(optimizer, PERIODS, WEIGHTS, ENDS)
    rates = []
    for _ in range(sum(PERIODS) + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) <= sum(PERIODS):
            schedule.step()
    assert rates == pytest.approx([expected(steps) for steps in range(21)], rel=1e-12)
    assert set(rates[:7]) == {BASE}, "the first period is constant"
    assert rates[-1] == pytest.approx(1e-6)


def test_lists_of_different_lengths() -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(ValueError, match="same length, have 2, 2 and 1"):
        CosineAnnealingRestartCyclicLR(optimizer, [1, 2], [1, 1], [0])


@pytest.mark.parametrize("model", ["ImageCleanModel", "SRModel"])
def test_a_run_has_these_rates(model: str, pairs: Path) -> None:
    """Those of every iteration, in the training state, whatever the model."""
    section = {"type": "CosineAnnealingRestartCyclicLR", "periods": PERIODS,
               "restart_weights": WEIGHTS, "eta_mins": ENDS}  # fmt: skip
    runs = Runs(pairs)
    runs.train(
        contents(
            total=9, model_type=model, train__scheduler=section, train__optim_g={
                "type": "AdamW", "lr": BASE, "betas": [0.9, 0.999], "weight_decay": 1e-4},
        )
    )  # fmt: skip
    (state,) = runs.end()["state"]["schedulers"]
    assert state["_last_lr"] == pytest.approx([expected(8)])
