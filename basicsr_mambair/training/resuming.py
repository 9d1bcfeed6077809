"""Where a run continues: the place, the random states and the records that a checkpoint holds."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr_mambair.training.checkpoints import latest_training_state
from basicsr_mambair.training.randomness import (
    random_state,
    restore_random_state,
    seed_generators,
)
from basicsr_mambair.training.sampling import samples_per_process
from mambair.checkpoint import load_checkpoint

# Attributes of models that are part of a run: the pool of pairs of BasicSR's Real-ESRGAN models,
# and the best figures so far.
_KEPT = ("queue_lr", "queue_gt", "queue_ptr", "queue_size", "best_metric_results")


class RunState:
    """What a training state holds in addition to the model's own.

    Args:
        options: the options of the run.
        batch: samples of an iteration, over all processes.
        iteration: iteration at which this leg of the run began.
        position: number of samples before it.
    """

    def __init__(self, options: dict[str, Any], batch: int, iteration: int, position: int) -> None:
        self.options, self.batch = options, batch
        self._iteration, self._position = iteration, position
        self._random_states: list[dict[str, Any]] = [{}]

    def position_before(self, iteration: int) -> int:
        """The position of the first sample of an iteration."""
        return self._position + (iteration - 1 - self._iteration) * self.batch

    def note_random_states(self) -> None:
        """Notes the random states of all processes, which all must call this."""
        self._random_states = [random_state()]
        if self.options["dist"]:
            import torch

            gathered: list[Any] = [None] * self.options["world_size"]
            torch.distributed.all_gather_object(gathered, self._random_states[0])
            self._random_states = gathered

    def contents(self, model: Any, iteration: int) -> dict[str, Any]:
        """The entries of a training state."""
        return {
            "position": self.position_before(iteration + 1),
            "seed": self.options["manual_seed"],
            "random_states": self._random_states,
            "attributes": {key: getattr(model, key) for key in _KEPT if hasattr(model, key)},
        }


@dataclass
class Resumed:
    """A training state to continue from.

    Attributes:
        path: its file.
        contents: what it holds.
        iteration: the last iteration that was made.
        position: number of samples that the run has been trained on.
    """

    path: str
    contents: dict[str, Any]
    iteration: int
    position: int

    def is_of(self, options: dict[str, Any]) -> bool:
        """Returns whether the state belongs to the run that these options name."""
        folder = Path(options["path"]["training_states"])
        return folder.resolve() == Path(self.path).parent.resolve()

    def restore_random_state(self, rank: int) -> None:
        """Sets the random generators of a process to what they were."""
        states = self.contents.get("random_states")
        if not states:  # written by BasicSR, or by an older version
            return
        if rank < len(states):
            restore_random_state(states[rank])
        else:  # there were fewer processes
            seed_generators(self.contents["seed"], rank, self.position)


def find_resume_state(options: dict[str, Any]) -> Resumed | None:
    """Loads the training state to resume from onto the CPU; ``None`` if training begins anew.

    Where ``manual_seed`` is not given, the seed is that of the run that continues.

    Raises:
        CheckpointError: it cannot be read.
    """
    from basicsr.utils import check_resume

    path = options["path"].get("resume_state")
    if options["auto_resume"]:
        path = latest_training_state(options["path"]["training_states"]) or path
        options["path"]["resume_state"] = path
    if not path:
        return None
    contents = load_checkpoint(path)  # optimizers move their state to their parameters' device
    iteration = int(contents["iter"])
    check_resume(options, iteration)
    if options.get("seed_was_drawn") and "seed" in contents:
        options["manual_seed"] = contents["seed"]
    batch = samples_per_process(options) * options["world_size"]
    position = contents.get("position", iteration * batch)
    return Resumed(path, contents, iteration, position)


def resume_model(model: Any, resumed: Resumed, log: logging.Logger) -> None:
    """Restores optimizers, schedulers and further state of a model."""
    model.resume_training(resumed.contents)
    for key, value in resumed.contents.get("attributes", {}).items():
        setattr(model, key, _on_device(value, model.device))
    epoch = resumed.contents.get("epoch")
    log.info(f"Resuming training from epoch: {epoch}, iter: {resumed.iteration}.")


def _on_device(value: Any, device: Any) -> Any:
    import torch

    return value.to(device) if torch.is_tensor(value) else value
