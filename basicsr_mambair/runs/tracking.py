"""TensorBoard and Weights & Biases: a run that continues goes on in its own run there."""

from __future__ import annotations

import copy
import importlib
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mambair.errors import UserError

WANDB_ID = "wandb_id"


class TrackingError(UserError):
    """A tracker that the options name cannot begin; the message names the key."""


class Trackers:
    """Sends scalars to TensorBoard and wandb; what else a model writes goes to TensorBoard alone.

    Args:
        tensorboard: a ``SummaryWriter``, or ``None``.
        wandb: a run of wandb, or ``None``.
    """

    def __init__(self, tensorboard: Any, wandb: Any) -> None:
        self._tensorboard, self._wandb = tensorboard, wandb

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Sends a scalar.

        Args:
            tag: its name.
            value: its value.
            step: the iteration. wandb ignores steps before the last that it has, so a run that
                continues from before them leaves its first figures as they are.
        """
        if self._tensorboard is not None:
            self._tensorboard.add_scalar(tag, value, step)
        if self._wandb is not None:
            self._wandb.log({tag: value}, step=step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensorboard, name)

    def close(self, finished: bool) -> None:
        """Writes what is left.

        Args:
            finished: whether the run made its last iteration; wandb shows the state of a run.
        """
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if finished else 1)


def tensorboard_folder(options: Mapping[str, Any]) -> Path | None:
    """The folder of a run's TensorBoard files, where BasicSR has it; ``None``: it has none."""
    if not options["logger"].get("use_tb_logger") or _is_for_debugging(options):
        return None
    return Path(options["root_path"], "tb_logger", options["name"])


def open_trackers(
    options: Mapping[str, Any], continued_at: int | None, log: logging.Logger
) -> Trackers | None:
    """Begins the trackers that the options name, or goes on with those of the run.

    Args:
        options: the options of the run.
        continued_at: the last iteration that the run has made; what TensorBoard has of later ones
            is hidden. ``None``: the run is new.
        log: the log of the run.

    Returns:
        The trackers; ``None`` if the options name none, and in other processes than the first.

    Raises:
        TrackingError: wandb cannot begin.
    """
    if options["rank"] != 0:
        return None
    folder, section = tensorboard_folder(options), options["logger"].get("wandb") or {}
    tensorboard = wandb = None
    if section.get("project") is not None and not _is_for_debugging(options):
        wandb = _begin_wandb(options, section, log)
    if folder is not None:
        from torch.utils.tensorboard import SummaryWriter

        purged = None if continued_at is None else continued_at + 1
        tensorboard = SummaryWriter(folder, purge_step=purged)
    return Trackers(tensorboard, wandb) if tensorboard or wandb else None


def _is_for_debugging(options: Mapping[str, Any]) -> bool:
    return "debug" in options["name"]  # BasicSR tracks no such run


def _begin_wandb(options: Mapping[str, Any], section: Mapping[str, Any], log: Any) -> Any:
    wandb: Any = importlib.import_module("wandb")  # an extra
    folder = Path(options["path"]["experiments_root"])
    file = folder / WANDB_ID
    kept = file.read_text(encoding="utf-8").strip() if file.is_file() else None
    number = section.get("resume_id") or kept or secrets.token_hex(4)
    # Before it begins: a run that is killed in between has its id.
    file.write_text(number + "\n", encoding="utf-8")
    try:
        run = wandb.init(
            id=number,
            resume="allow",
            project=section["project"],
            name=options["name"],
            config=copy.deepcopy(dict(options)),
            dir=folder,
        )
    except wandb.errors.Error as error:
        raise TrackingError(
            f"logger.wandb.project: wandb cannot begin: {error} With WANDB_MODE=offline in the "
            f"environment it keeps the figures in {folder / 'wandb'}, and null turns it off"
        ) from error
    log.info(f"wandb: run {number} of project {section['project']}; {WANDB_ID} keeps its id.")
    return run
