"""``provenance.yml``: what made a run, one YAML document for each time that it was started."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

import mambair
from basicsr_mambair.runs.machine import devices, git_revision, versions
from mambair.atomic import write_atomically
from mambair.errors import UserError

FILE = "provenance.yml"

_HEADER = "# What made this run: a document for each time it was started, the newest last.\n"
_SEPARATOR = "---\n"

Leg = dict[str, Any]


class ProvenanceError(UserError):
    """The record of a run cannot be read or written; the message names the file."""


def describe_leg(
    options: Mapping[str, Any], option_file: str, begin: int, model: Any, data: Mapping[str, Any]
) -> Leg:
    """What makes a run from here on.

    Args:
        options: the options of the run, complete.
        option_file: where they came from.
        begin: iterations that have been made before.
        model: the model of BasicSR that is trained.
        data: fingerprint of every data set, by its name.
    """
    package = Path(mambair.__file__).parent
    revisions = {"working_folder": git_revision(Path.cwd()), "package": git_revision(package)}
    return {
        "name": options["name"],
        "started": _now(),
        "command": command_line(),
        "working_folder": os.getcwd(),
        "option_file": option_file,
        "begin": begin,
        "total": int(options["train"]["total_iter"]),
        "processes": options["world_size"],
        "host": socket.gethostname(),
        "process": os.getpid(),
        "git": {place: revision for place, revision in revisions.items() if revision},
        "versions": versions(),
        "devices": devices(model.device),
        "backend": _backend(model),
        "data": dict(data),
        "options": {key: value for key, value in options.items() if key != "rank"},
    }


def _backend(model: Any) -> str | None:
    """What scans, and the kernels; ``None`` for a network that does not scan."""
    from mambair.ops import native
    from mambair.ops.selective_scan import select_automatic

    network = getattr(model, "net_g", None)
    if network is None or not hasattr(model.get_bare_model(network), "set_scan_backend"):
        return None
    chosen = model.opt["network_g"].get("scan_backend", "auto")
    scan = f"auto ({select_automatic(model.device.type)})" if chosen == "auto" else chosen
    return f"scan_backend {scan}; kernels: {native.describe()}"


def begin_leg(folder: str | os.PathLike[str], leg: Mapping[str, Any]) -> None:
    """Adds a document to the record of a run.

    Raises:
        ProvenanceError: it could not be written.
    """
    path = Path(folder) / FILE
    before = _read(path) or _HEADER
    _write(path, before + _SEPARATOR + _yaml(leg))


def end_leg(
    folder: str | os.PathLike[str], state: str, iteration: int, reason: str | None = None
) -> None:
    """Adds to the last document how the leg ended; a process that is killed adds nothing.

    Args:
        folder: the folder of the run.
        state: ``finished``, ``stopped`` (a signal) or ``failed``.
        iteration: the last iteration that was made.
        reason: what went wrong.

    Raises:
        ProvenanceError: it could not be written.
    """
    path = Path(folder) / FILE
    end = {"at": _now(), "state": state, "iteration": iteration}
    if reason is not None:
        end["reason"] = reason
    _write(path, (_read(path) or _HEADER) + _yaml({"end": end}))


def last_leg(folder: str | os.PathLike[str]) -> Leg | None:
    """The newest document of a run; ``None`` if it has no record.

    Raises:
        ProvenanceError: the file cannot be read, or is not what a run has written.
    """
    path = Path(folder) / FILE
    text = _read(path)
    if text is None:
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        leg = yaml.load(text.rpartition("\n" + _SEPARATOR)[2], loader)  # noqa: S506  (both are safe)
    except yaml.YAMLError as error:
        raise ProvenanceError(f"{path}: is damaged: {error}") from error
    if not isinstance(leg, dict) or not {"name", "begin", "total"} <= leg.keys():
        raise ProvenanceError(f"{path}: is not the record of a run")
    return leg


def command_line() -> str:
    """The command that started this process, as one would type it.

    Under torchrun it is the launcher's; of several machines, it is that of one. Under Slurm it is
    what srun runs.
    """
    program, *arguments = sys.argv
    path = Path(program)
    if path.name == "__main__.py":
        words = ["-m", path.parent.name, *arguments]
    elif path.suffix == ".py":
        words = [program, *arguments]
    else:
        return shlex.join([path.name, *arguments])
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        machines = int(os.environ["WORLD_SIZE"]) // local
        several = [f"--nnodes={machines}"] if machines > 1 else []
        return shlex.join(["torchrun", *several, f"--nproc_per_node={local}", *words])
    return shlex.join(["python", *words])


def _now() -> str:
    return datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds")


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(
        _plain(value), sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
    return text


def _plain(value: Any) -> Any:
    """Nested containers as YAML knows them; what it does not know as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    for known in (bool, int, float, str):  # numpy's float64 is a float, and YAML refuses it
        if isinstance(value, known):
            return known(value)
    return None if value is None else str(value)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ProvenanceError(f"{path}: cannot be read ({error})") from error


def _write(path: Path, text: str) -> None:
    # An argument that the locale could not decode holds lone surrogates.
    content = text.encode("utf-8", "backslashreplace")
    try:
        write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise ProvenanceError(f"{path}: could not be written ({error.strerror})") from error
