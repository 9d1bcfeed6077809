"""Where a run continues: the place, the random states and the records that a checkpoint holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from basicsr_mambair.runs.states import training_states
from basicsr_mambair.training.changes import (
    changes_since,
    described,
    plain,
    resume_with_changes,
)
from basicsr_mambair.training.randomness import (
    random_state,
    restore_random_state,
    seed_generators,
)
from basicsr_mambair.training.sampling import RunSampler, stages_of
from basicsr_mambair.training.writing import unhealthy
from mambair.checkpoint import CheckpointError, load_checkpoint, non_finite

# Attributes of models that are part of a run: the pool of pairs of BasicSR's Real-ESRGAN models,
# and the best figures so far.
_KEPT = ("queue_lr", "queue_gt", "queue_ptr", "queue_size", "best_metric_results")


class RunState:
    """What a training state holds in addition to the model's own.

    Args:
        options: the options of the run.
        sampler: knows the position of every iteration.
    """

    def __init__(self, options: dict[str, Any], sampler: RunSampler) -> None:
        self.options, self.sampler = options, sampler
        self._random_states: list[dict[str, Any]] = [{}]

    def note_random_states(self) -> None:
        """Notes the random states of all processes, which all must call this."""
        self._random_states = [random_state()]
        if self.options["dist"]:
            gathered: list[Any] = [None] * self.options["world_size"]
            torch.distributed.all_gather_object(gathered, self._random_states[0])
            self._random_states = gathered

    def contents(self, model: Any, iteration: int) -> dict[str, Any]:
        """The entries of a training state."""
        return {
            "position": self.sampler.position_before(iteration + 1),
            "seed": self.options["manual_seed"],
            "options": plain(self.options),
            "random_states": self._random_states,
            "threads": torch.get_num_threads(),
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
        notes: what the log should say.
    """

    path: str
    contents: dict[str, Any]
    iteration: int
    position: int
    notes: list[str] = field(default_factory=list)

    def weights(self, network: str) -> Path:
        """The file of the weights of a network (``network_g``) that belong to the state."""
        label = network.removeprefix("network_")
        return Path(self.path).parent.parent / "models" / f"net_{label}_{self.iteration}.pth"

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

    With ``--auto_resume`` that is the newest of the run whose files are whole and finite. Where
    ``manual_seed`` is not given, the seed is that of the run that continues. Of several processes
    the first chooses: another might look when the folder has changed.

    Raises:
        CheckpointError: it cannot be read, or lacks its weights.
    """
    resumed = _choose(options) if options["rank"] == 0 else None
    if options["dist"]:
        chosen: list[Any] = [None if resumed is None else resumed.path]
        torch.distributed.broadcast_object_list(chosen)
        if options["rank"] > 0 and chosen[0] is not None:
            resumed = _read(Path(chosen[0]), options)
    if resumed is None:
        return None
    _use_weights(resumed, options)
    if options.get("seed_was_drawn") and "seed" in resumed.contents:
        options["manual_seed"] = resumed.contents["seed"]
    return resumed


def _choose(options: dict[str, Any]) -> Resumed | None:
    states = training_states(options["path"]["training_states"]) if options["auto_resume"] else {}
    if states:
        return _newest_whole(list(states.values()), options)
    path = options["path"].get("resume_state")
    return _read(Path(path), options) if path else None


def _newest_whole(paths: list[Path], options: dict[str, Any]) -> Resumed:
    """The first state that can be read, with its weights; says what is wrong with those before."""
    notes = []
    for path in paths:
        try:
            resumed = _read(path, options)
            _check_weights(resumed, options)
        except CheckpointError as error:
            notes.append(f"not resumed from iteration {path.stem}: {error}")
        else:
            resumed.notes[:0] = notes
            return resumed
    reasons = "\n  ".join(notes)
    raise CheckpointError(
        f"{paths[0].parent}: there is no whole training state to resume from; without "
        f"--auto_resume, training begins anew\n  {reasons}"
    )


def _read(path: Path, options: dict[str, Any]) -> Resumed:
    contents = load_checkpoint(path)  # optimizers move their state to their parameters' device
    missing = [key for key in ("iter", "optimizers", "schedulers") if key not in contents]
    if missing:
        raise CheckpointError(f"{path}: is not a training state: it lacks {', '.join(missing)}")
    if not all(
        isinstance(each, dict) and "param_groups" in each for each in contents["optimizers"]
    ):
        raise CheckpointError(f"{path}: is not a training state: it holds no states of optimizers")
    wrong = unhealthy(contents, "optimizers")
    if wrong:
        raise CheckpointError(f"{path}: the optimizer's state is not finite: {wrong[0]}")
    iteration = int(contents["iter"])
    samples = stages_of(options).samples(iteration) * options["world_size"]
    return Resumed(str(path), contents, iteration, contents.get("position", samples))


def _networks(options: dict[str, Any]) -> list[str]:
    ignored = options["path"].get("ignore_resume_networks") or ()
    return [key for key in options if key.startswith("network_") and key not in ignored]


def _check_weights(resumed: Resumed, options: dict[str, Any]) -> None:
    for key in _networks(options):
        path = resumed.weights(key)
        wrong = non_finite(load_checkpoint(path))
        if wrong:
            raise CheckpointError(f"{path}: these weights are not finite: {wrong[0]}")


def _use_weights(resumed: Resumed, options: dict[str, Any]) -> None:
    """Lets every network begin with the weights beside the state."""
    path = options["path"]
    path["resume_state"] = resumed.path
    for key in _networks(options):
        weights, before = resumed.weights(key), path.get(f"pretrain_{key}")
        if not weights.is_file():
            raise CheckpointError(
                f"path.resume_state: {resumed.path} is there, but the weights that belong to it "
                f"are not: {weights}"
            )
        if before:
            resumed.notes.append(f"path.pretrain_{key} is not used: {before}; {weights} is")
        path[f"pretrain_{key}"] = str(weights)
        label = key.removeprefix("network_")
        if path.get(f"param_key_{label}") == "params_ema":
            path[f"param_key_{label}"] = "params"


def resume_model(
    model: Any, resumed: Resumed, options: dict[str, Any], log: logging.Logger
) -> None:
    """Restores optimizers, schedulers and further state of a model.

    Options that have changed are heeded; the log says which.

    Raises:
        CheckpointError: the state is of another kind of model.
    """
    contents = resumed.contents
    changes = changes_since(contents.get("options"), options)
    for note in [*resumed.notes, *described(changes), *_other_threads(contents, model.device)]:
        log.warning(note)
    for kind in ("optimizers", "schedulers"):
        there, wanted = len(contents[kind]), len(getattr(model, kind))
        if there != wanted:
            raise CheckpointError(
                f"{resumed.path}: holds {there} {kind}, but {type(model).__name__} has {wanted}"
            )
    resume_with_changes(model, contents, changes, options["train"].get("warmup_iter", -1))
    for key, value in contents.get("attributes", {}).items():
        setattr(model, key, _on_device(value, model.device))
    epoch = contents.get("epoch")
    log.info(f"Resuming training from epoch: {epoch}, iter: {resumed.iteration}.")


def _other_threads(contents: Mapping[str, Any], device: Any) -> Iterator[str]:
    """On a CPU the number of threads decides where sums are cut, and so the last bits."""
    before, now = contents.get("threads"), torch.get_num_threads()
    if device.type == "cpu" and before not in (None, now):
        yield (
            f"the number of threads of the CPU was {before} and is {now} from here, which makes it "
            f"round sums differently; OMP_NUM_THREADS={before} gives the same bits as before"
        )


def _on_device(value: Any, device: Any) -> Any:
    return value.to(device) if torch.is_tensor(value) else value
