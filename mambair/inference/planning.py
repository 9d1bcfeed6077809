"""Which pictures become which files; whatever is known to fail is said before any work begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mambair.imaging.encoding import refusal_of
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS_BY_EXTENSION, format_of
from mambair.imaging.listing import name_some
from mambair.imaging.reading import read_header
from mambair.imaging.targets import TargetError, check_targets, comparison_path, target_of
from mambair.inference.records import FileState, Records, Settings
from mambair.inference.sources import Found
from mambair.inference.tiles import Tiling, computed_pixels


@dataclass(frozen=True)
class Job:
    """A picture and the file that it becomes.

    Attributes:
        source: the picture.
        target: path of the result.
        state: of the source when the work was planned.
        work: pixels that the network has to see.
    """

    source: Path
    target: Path
    state: FileState
    work: int


@dataclass
class Plan:
    """What to do.

    Attributes:
        jobs: the pictures to restore.
        failures: one line for each picture that cannot be restored, and why.
        left_out: one line for each kind of entry of a folder that is not restored.
        present: how many results were there already.
    """

    jobs: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    present: int = 0


@dataclass(frozen=True)
class Destination:
    """Where results go.

    Attributes:
        folder: of the results.
        name: file name of the only result; ``None``: that of each picture.
    """

    folder: Path
    name: str | None = None

    @classmethod
    def of(cls, output: str) -> Destination:
        """A file, if it has the extension of a picture and is no folder; else a folder.

        Raises:
            TargetError: nothing is named, or a file that is no picture.
            PictureError: a picture of a format that is not written here.
        """
        if not output:
            raise TargetError("'' names no file or folder (an empty variable?)")
        path = Path(output).expanduser()
        if path.is_dir() or output.endswith(("/", os.sep)):
            return cls(path)
        if path.suffix.lower() in FORMATS_BY_EXTENSION:
            return cls(path.parent, path.name)
        if os.path.lexists(path):
            raise TargetError(f"{path}: is there, and is neither a folder nor a picture")
        # Of pictures, but not ours; Pillow needs 0.1 s to know.
        if path.suffix and path.suffix.lower() in Image.registered_extensions():
            format_of(path)
        return cls(path)

    def __str__(self) -> str:
        return str(self.folder / (self.name or ""))


def plan_jobs(
    sources: Sequence[Found],
    output: Destination,
    *,
    scale: int,
    tiling: Tiling,
    settings: Settings,
    extension: str | None = None,
    suffix: str = "",
    compare: bool = False,
    skip_existing: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Pairs every picture with its result.

    Args:
        sources: the pictures.
        output: where the results go.
        scale: sides of results are so many times those of the pictures.
        tiling: how the pictures will be cut.
        settings: what else results depend on.
        extension: of the results, with its dot; that of the picture by default. Without effect if
            the result has a name.
        suffix: added to names, likewise.
        compare: comparisons will be written too.
        skip_existing: leave alone what is there already: results of the same pictures and settings.
        overwrite: replace whatever is there.

    Raises:
        TargetError: a result would replace a picture of the sources, another result, a result of
            another picture or network, or a file that was not written here; or one file is named
            for several results.
        PictureError: a file was named whose format is not known.
    """
    if output.name is not None and len(sources) > 1:
        raise TargetError(
            f"{output.folder / output.name} names one file for the results of {len(sources)} "
            "pictures; name a folder (-o)"
        )
    pairs = []
    for each in sources:
        target = _target(each, output, suffix, extension)
        pairs.append((each.path, [target, comparison_path(target)] if compare else [target]))
    check_targets(pairs)
    records = Records(output.folder)
    plan = Plan()
    conflicts = []
    for source, targets in pairs:
        states = [records.state_of(target, source, settings) for target in targets]
        in_the_way = [
            f"{target}: {_conflict(state, whose)}"
            for target, (state, whose) in zip(targets, states, strict=True)
            if state in ("other network", "other picture", "unknown")
        ]
        if in_the_way and not overwrite:
            conflicts += in_the_way
        elif skip_existing and all(state == "current" for state, _ in states):
            plan.present += 1
        else:
            _plan_job(source, targets[0], scale, tiling, settings.simulated, plan)
    if conflicts:
        more = f" (and {len(conflicts) - 1} more such files)" if len(conflicts) > 1 else ""
        raise TargetError(
            f"{conflicts[0]}{more}; choose another output (-o) or a --suffix, or --overwrite it"
        )
    return plan


def _target(found: Found, output: Destination, suffix: str, extension: str | None) -> Path:
    if output.name is None:
        target = target_of(found.path, output.folder / found.folder, suffix, extension)
    else:
        target = output.folder / output.name
    format_of(target)
    return target


def _conflict(state: str, whose: str) -> str:
    if state == "other network":
        return f"is the result of other weights or of another use of them ({whose})"
    if state == "other picture":
        return f"is the result of another picture, {whose}"
    return "is there, and is no result of this command or was changed since"


def _plan_job(
    source: Path, target: Path, scale: int, tiling: Tiling, simulated: bool, plan: Plan
) -> None:
    try:
        header = read_header(source)
        state = FileState.of(source)
    except OSError as error:
        plan.failures.append(f"{source}: cannot be read: {error.strerror or error}")
        return
    except PictureError as error:
        plan.failures.append(str(error))
        return
    count = len(header.sizes)
    factor = 1 if simulated else scale
    sides = [max(each[axis] for each in header.sizes) * factor for axis in (0, 1)]
    reason = refusal_of(format_of(target), sides[0], sides[1], count, header.is_paged)
    if simulated and count > 1:
        reason = f"--simulate takes single pictures, and this file holds {count}"
    if reason:
        plan.failures.append(f"{source}: {reason}")
        return
    work = sum(computed_pixels(*size, tiling) for size in header.sizes)
    plan.jobs.append(Job(source, target, state, work // (scale**2 if simulated else 1)))


def summarize_notes(notes: dict[str, list[Path]]) -> list[str]:
    """One line for each kind of thing that was not kept: what, in how many pictures, and which."""
    return [f"{len(paths)} ×: {what}: {name_some(paths)}" for what, paths in notes.items()]
