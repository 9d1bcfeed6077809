"""Which checkpoints of a run stay, and how much room they need."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from basicsr_mambair.runs.states import training_states
from mambair.checkpoint import CheckpointError, size_of
from mambair.errors import file_size

_WEIGHTS = re.compile(r"net_\w+_(\d+)\.(?:pth|safetensors)")


def kept(iterations: Iterable[int], last: int | None, every: int | None) -> set[int]:
    """The iterations whose checkpoints stay.

    Args:
        iterations: those that there are.
        last: how many of the newest stay; ``None``: all, or one if ``every`` is given.
        every: iterations of whose multiples all stay.
    """
    ordered = sorted(iterations, reverse=True)
    if last is None and every is None:
        return set(ordered)
    multiples = {iteration for iteration in ordered if every and iteration % every == 0}
    return set(ordered[: last or 1]) | multiples


def delete_old(path: Mapping[str, Any], logger: Mapping[str, Any]) -> None:
    """Deletes the checkpoints that ``logger.keep_last`` and ``keep_every`` do not keep.

    A state goes before its weights, so that no state is ever there without them.

    Args:
        path: section ``path`` of the options.
        logger: section ``logger`` of the options.
    """
    states = training_states(path["training_states"])
    weights: dict[int, list[Path]] = {}
    for file in Path(path["models"]).iterdir():
        match = _WEIGHTS.fullmatch(file.name)
        if match:
            weights.setdefault(int(match[1]), []).append(file)
    stay = kept(states, logger.get("keep_last"), logger.get("keep_every"))
    for iteration in states.keys() - stay:
        for file in (states[iteration], *weights.get(iteration, ())):
            file.unlink(missing_ok=True)


def check_space(model: Any, options: Mapping[str, Any], begin: int) -> str | None:
    """Estimates the room that the checkpoints of a run need, before the first iteration.

    Args:
        model: a model of BasicSR; its optimizers are taken to hold two numbers for each weight.
        options: the options of the run.
        begin: iterations that have been made.

    Returns:
        What to warn of: there is room for some checkpoints, but not for all.

    Raises:
        CheckpointError: there is not room for a single one.
    """
    networks = {name: each for name, each in vars(model).items() if _is_network(name, each)}
    sizes = {name: size_of(each.state_dict()) for name, each in networks.items()}
    weights = sum(sizes.values())
    if options["logger"].get("save_safetensors"):
        weights += sum(size for name, size in sizes.items() if not name.endswith("_ema"))
    trained = sum(
        size_of(parameter) for each in networks.values() for parameter in each.parameters()
        if parameter.requires_grad
    )  # fmt: skip
    logger, total = options["logger"], int(options["train"]["total_iter"])
    frequency = logger["save_checkpoint_freq"]
    iterations = {*range(frequency, total + 1, frequency), total}
    stay = kept(iterations, logger.get("keep_last"), logger.get("keep_every"))
    size, number = weights + 2 * trained, sum(each > begin for each in stay) + 1
    folder = options["path"]["models"]
    free = shutil.disk_usage(folder).free
    if free < size:
        raise CheckpointError(
            f"{folder}: the disk has {file_size(free)} left, and one checkpoint needs about "
            f"{file_size(size)}"
        )
    if free < size * number:
        return (
            f"{folder}: the disk has {file_size(free)} left; the {number} checkpoints of this run "
            f"need about {file_size(size * number)}. logger.keep_last: "
            f"{max(1, math.floor(free / size) - 2)} keeps fewer."
        )
    return None


def _is_network(name: str, value: Any) -> bool:
    return name.startswith("net_") and isinstance(value, nn.Module)
