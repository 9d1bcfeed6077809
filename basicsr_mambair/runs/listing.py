"""The runs in a folder: their state, their last figures, and how to go on with them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basicsr_mambair.runs.lock import is_running
from basicsr_mambair.runs.metrics import FILE as METRICS
from basicsr_mambair.runs.metrics import Record, read_metrics
from basicsr_mambair.runs.provenance import FILE as PROVENANCE
from basicsr_mambair.runs.provenance import last_leg
from basicsr_mambair.runs.states import training_states
from mambair.errors import UserError

_STATES = "training_states"
_ARCHIVED = "_archived_"  # BasicSR renames the folder of a run that is begun anew


class NoRunsError(UserError):
    """There is no run where one was looked for; the message names the place."""


@dataclass
class Run:
    """A run as its folder shows it.

    Attributes:
        folder: its folder.
        state: ``running``, ``finished``, ``stopped``, or ``unknown`` without a record.
        iteration: the last iteration that is known to have been made.
        total: the iterations it is to make; ``None``: there is no record that says so.
        figures: the last losses, and the last figures of every data set of validation
            (``Set5/psnr``).
        saved: the iteration of the newest training state; ``None``: there is none.
        remark: why it stopped, or what else one should know.
        resume: the command that goes on with it, or begins anew if nothing was saved; ``None``: it
            is running or finished, or its folder was renamed.
    """

    folder: Path
    state: str
    iteration: int | None = None
    total: int | None = None
    figures: dict[str, float | None] = field(default_factory=dict)
    saved: int | None = None
    remark: str = ""
    resume: str | None = None

    @property
    def is_archived(self) -> bool:
        """Whether a later run of the same name has taken the place of this one."""
        return _ARCHIVED in self.folder.name


def is_run(folder: Path) -> bool:
    """Returns whether a folder is that of a run, of an older version or BasicSR's, too."""
    return any((folder / name).exists() for name in (PROVENANCE, METRICS, _STATES))


def find_runs(folder: str | os.PathLike[str]) -> list[Path]:
    """The folders of runs in a folder, or the folder itself if it is one.

    Raises:
        NoRunsError: there is no such folder, or it cannot be read.
    """
    folder = Path(folder)
    try:
        inner = sorted(each for each in folder.iterdir() if each.is_dir())
    except OSError as error:
        raise NoRunsError(f"{folder}: cannot be read ({error.strerror})") from error
    return [folder] if is_run(folder) else list(filter(is_run, inner))


def describe_run(folder: Path) -> Run:
    """Reads the state of a run.

    Raises:
        MetricsError: its figures cannot be read.
        ProvenanceError: its record cannot be read.
    """
    leg, records = last_leg(folder), read_metrics(folder)
    end: Mapping[str, Any] = (leg or {}).get("end") or {}
    saved = next(iter(training_states(folder / _STATES)), None)
    known = [records[-1]["iter"] if records else None, saved, end.get("iteration")]
    iteration = max((each for each in known if each is not None), default=(leg or {}).get("begin"))
    run = Run(folder, "unknown", iteration, (leg or {}).get("total"), last_figures(records), saved)
    if is_running(folder):
        run.state = "running"
    elif leg is None:
        run.remark = f"it has no {PROVENANCE}: BasicSR or an older version made it"
    elif end.get("state") == "finished":
        run.state = "finished"
    else:
        run.state = "stopped"
        if not end:
            run.remark = "killed"
        elif end.get("state") == "failed":
            run.remark = str(end.get("reason"))
        else:
            run.remark = str(end.get("reason", "by a signal"))
        _say_how_to_go_on(run, leg)
    return run


def last_figures(records: list[Record]) -> dict[str, float | None]:
    """The last losses of a run, and the last figures of every data set of validation."""
    losses: dict[str, float | None] = {}
    validations: dict[str, float | None] = {}
    for record in records:
        if "val" in record:
            for name, value in record["metrics"].items():
                validations[f"{record['val']}/{name}"] = value
        else:
            losses = record["train"]
    return losses | validations


def _say_how_to_go_on(run: Run, leg: Mapping[str, Any]) -> None:
    if run.folder.resolve().name != leg["name"]:  # its command would train another
        if run.saved is not None:
            state = run.folder / _STATES / f"{run.saved}.state"
            run.remark += f"; renamed, so a new run with path.resume_state: {state} goes on from it"
        return
    command = str(leg["command"])
    if run.saved is not None and not {"--auto_resume", "--auto-resume"} & set(shlex.split(command)):
        command += " --auto_resume"
    place = leg.get("working_folder")
    if place and Path(place) != Path.cwd():
        command = f"cd {shlex.quote(str(place))} && {command}"
    run.resume = command
