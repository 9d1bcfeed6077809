"""Options that changed between the legs of a run: what is heeded, and what is not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

# Sections that decide what is trained, and keys in them that only decide how fast.
_COMPARED = ("model_type", "scale", "manual_seed", "network_", "train", "datasets.train")
_WITHOUT_EFFECT = (
    "datasets.train.num_worker_per_gpu",
    "datasets.train.prefetch_mode",
    "datasets.train.num_prefetch_queue",
    "datasets.train.pin_memory",
    "datasets.train.persistent_workers",
)
_ONLY_AT_THE_BEGINNING = ("train.warm_start",)

Changes = dict[str, tuple[Any, Any]]


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a training state keeps to be compared with, without paths of this run."""
    flat = dict(_flatten(options))
    return {
        key: value
        for key, value in flat.items()
        if key.startswith(_COMPARED) and key not in _WITHOUT_EFFECT
    }


def _flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values of nested sections by dotted key; lists are values."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flatten(each, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        yield place, [each if isinstance(each, (int, float, str)) else str(each) for each in value]
    elif value is None or isinstance(value, (bool, int, float, str)):
        yield place, value


def changes_since(before: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Changes:
    """The options that differ from those in a training state, by key: before and now.

    Args:
        before: what :func:`plain` returned then; ``None`` for a state that has not kept it.
        options: the options of this run.
    """
    if before is None:
        return {}
    now = plain(options)
    return {
        key: (before.get(key), now.get(key))
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    }


def described(changes: Changes) -> list[str]:
    """One line for the log about the changes that are heeded, one about those that are not."""
    texts = {key: f"{key}: {before!r} → {now!r}" for key, (before, now) in changes.items()}
    late = [texts[key] for key in changes if key in _ONLY_AT_THE_BEGINNING]
    heeded = [text + _consequence(key, *changes[key]) for key, text in texts.items()
              if key not in _ONLY_AT_THE_BEGINNING]  # fmt: skip
    lines = []
    if heeded:
        lines.append(f"options that changed, and are heeded from here: {'; '.join(heeded)}")
    if late:
        lines.append(f"options that changed, but have an effect at the beginning only: {late[0]}")
    return lines


def _consequence(key: str, before: Any, now: Any) -> str:
    if _is_type_of_optimizer(key):
        return " (the optimizer begins anew)"
    if key == "train.ema_decay" and not now:
        return " (the averaged weights are dropped)"
    if key == "train.ema_decay" and not before:
        return " (the average begins with the weights as they are)"
    return ""


def _is_type_of_optimizer(key: str) -> bool:
    return key.startswith("train.optim_") and key.endswith(".type")


def resume_with_changes(model: Any, state: dict[str, Any], changes: Changes, warmup: int) -> None:
    """Restores optimizers and schedules, as they would be with the changed options.

    Learning rates and schedules are those that a run with the new options has at that iteration.

    Args:
        model: a model of BasicSR, as its constructor left it.
        state: a training state; entries of optimizers that begin anew are replaced.
        changes: see :func:`changes_since`.
        warmup: ``train.warmup_iter`` of the new options.
    """
    rates = any(
        key.startswith(("train.optim_", "train.scheduler", "train.warmup_iter")) for key in changes
    )
    if not rates:
        model.resume_training(state)
        return
    optimizers, schedulers = model.optimizers, model.schedulers
    for index, optimizer in enumerate(optimizers):
        if f"train.{_section(model, optimizer)}.type" in changes:
            state["optimizers"][index] = optimizer.state_dict()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for iteration in range(1, state["iter"] + 1):
            model.update_learning_rate(iteration, warmup_iter=warmup)
    schedules = [dict(scheduler.state_dict()) for scheduler in schedulers]
    groups = [
        [{key: value for key, value in group.items() if key != "params"} for group in each]
        for each in (optimizer.param_groups for optimizer in optimizers)
    ]
    model.resume_training(state)
    for scheduler, schedule in zip(schedulers, schedules, strict=True):
        scheduler.load_state_dict(schedule)
    for optimizer, new_groups in zip(optimizers, groups, strict=True):
        section = _section(model, optimizer)
        prefix = f"train.{section}."
        changed = {key.removeprefix(prefix) for key in changes if key.startswith(prefix)}
        for group, new in zip(optimizer.param_groups, new_groups, strict=True):
            for key in {*changed, "lr", "initial_lr"} & new.keys():
                group[key] = new[key]


def _section(model: Any, optimizer: Any) -> str:
    """The section of an optimizer: ``optim_g`` of ``optimizer_g``."""
    attributes: dict[str, Any] = vars(model)
    for name, value in attributes.items():
        if value is optimizer and name.startswith("optimizer_"):
            return "optim_" + name.removeprefix("optimizer_")
    return "optim_g"
