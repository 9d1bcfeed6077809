"""Steps that are not finite are skipped, counted and named; too many in a row end the run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch

from basicsr_mambair.runs.states import training_states
from basicsr_mambair.sharding import is_part, local
from basicsr_mambair.training.agreement import any_process
from mambair.errors import UserError, listed


class TrainingDivergedError(UserError):
    """Loss or gradients were not finite too often in a row."""


class StepGuard:
    """Watches a model's optimizers and losses.

    Gradients that hold NaN or infinite numbers are dropped before the optimizer's step, which then
    changes nothing. With fp16, overflowing gradients are the business of the scaler, which lowers
    its scale; they are not counted.

    Args:
        model: a model of BasicSR.
        most: skipped steps in a row that end the run.
        log: where skipped steps are written.

    Attributes:
        in_a_row: steps that have been skipped since the last that was not.
        skipped: steps that have been skipped in all.
    """

    def __init__(self, model: Any, most: int, log: logging.Logger) -> None:
        self.model, self.most, self.log = model, most, log
        self.in_a_row = self.skipped = 0
        self._dropped = False
        for optimizer in model.optimizers:
            optimizer.register_step_pre_hook(self._before_step)

    def check(self, iteration: int, batch: Mapping[str, Any]) -> None:
        """Notes whether the step of an iteration was skipped.

        Args:
            iteration: the iteration.
            batch: its batch, which is named in the log.

        Raises:
            TrainingDivergedError: it was the last of too many.
        """
        wrong = [
            f"{name} is {value}"
            for name, value in self.model.get_current_log().items()
            if self._decides(name) and not math.isfinite(value)
        ]
        if self._dropped and not wrong:
            wrong = ["the gradients are not finite"]
        self._dropped = False
        if not any_process(bool(wrong), self.model.opt["dist"], self.model.device):
            self.in_a_row = 0
            return
        wrong = wrong or ["another process's loss is not finite"]
        self.in_a_row += 1
        self.skipped += 1
        self.log.warning(
            f"iteration {iteration}: {', '.join(wrong)}; this step is skipped "
            f"({self.in_a_row} in a row, {self.skipped} in all). Batch: {_pictures(batch)}"
        )
        if self.in_a_row >= self.most:
            raise TrainingDivergedError(
                f"iteration {iteration}: {wrong[0]}; {self.in_a_row} steps in a row were not "
                f"finite (train.max_skipped_steps). {self._last_state()} A smaller learning rate "
                "or train.grad_clip_norm helps."
            )

    def _decides(self, name: str) -> bool:
        """Returns whether a value of the log tells that a step is skipped."""
        scaler = getattr(self.model, "scaler", None)
        scaled = scaler is not None and scaler.is_enabled()
        return name.startswith("l_") or (name == "grad_norm" and not scaled)

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        gradients = [local(each.grad) for each in parameters if each.grad is not None]
        filled = [each for each in gradients if each.numel()]  # a small tensor has empty parts
        largest = torch.nn.utils.get_total_norm(filled, float("inf"))
        # Every process looks at its own part: a maximum over processes may lose a NaN.
        parted = any(is_part(each) for each in parameters)
        if not any_process(not bool(largest.isfinite()), parted, self.model.device):
            return
        self._dropped = True
        for parameter in parameters:
            parameter.grad = None

    def _last_state(self) -> str:
        states = training_states(self.model.opt["path"]["training_states"])
        if not states:
            return "No checkpoint had been saved."
        return f"The last healthy checkpoint is kept: {next(iter(states.values()))}."


def _pictures(batch: Mapping[str, Any]) -> str:
    paths = batch.get("gt_path") or batch.get("lq_path") or batch.get("key")
    if not isinstance(paths, (list, tuple)) or not paths:
        return "its pictures have no names"
    return listed(paths)
