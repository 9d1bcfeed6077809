"""Which pictures become which files; whatever is known to fail is said before any work begins."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mambair.imaging.encoding import refusal_of
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS_BY_EXTENSION, format_of, readable_extensions
from mambair.imaging.listing import (
    PACKAGE_SCHEME,
    Survey,
    name_some,
    nothing_found,
    resolve_root,
    survey,
)
from mambair.imaging.reading import read_header
from mambair.imaging.targets import TargetError, check_targets, comparison_path, target_of
from mambair.inference.records import FileState, Records, Settings
from mambair.inference.tiles import Tiling, computed_pixels

_SUB_FOLDERS = "sub-folders"
_RESULTS = "results that were written there"


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
        if path.suffix.lower() in Image.registered_extensions():  # of pictures, but not ours
            format_of(path)
        return cls(path)

    def __str__(self) -> str:
        return str(self.folder / (self.name or ""))


@dataclass(frozen=True)
class Found:
    """A picture, and where it stands below the folder that was named.

    Attributes:
        path: of the picture.
        folder: relative to what was named.
    """

    path: Path
    folder: Path = Path()


def find_sources(
    inputs: Iterable[str], output: Path, recursive: bool
) -> tuple[list[Found], list[str], list[str]]:
    """Finds the pictures that arguments name.

    Args:
        inputs: files, folders, patterns, ``pkg://package/folder``.
        output: folder of the results. If it is inside of what was named, it is no source, and if
            it is that itself, the results in it are none.
        recursive: look into sub-folders too.

    Returns:
        The pictures; lines about what was left out; lines about what cannot be read.

    Raises:
        PictureError: an argument names nothing, or a folder without pictures; says what is there.
    """
    found: dict[str, Found] = {}
    left_out: list[str] = []
    failures: list[str] = []
    records = Records(output)
    inputs = list(inputs)
    for item in inputs:
        for folder, there in _look_at(item, output, recursive, records, len(inputs) == 1):
            for path in there.pictures:
                inside = path.parent.relative_to(folder) if folder else Path()
                found.setdefault(os.path.abspath(path), Found(path, inside))
            failures += [f"{path}: {reason}" for path, reason in there.unreadable.items()]
            left_out += [f"{item}: {line}" for line in _describe(there)]
    return list(found.values()), left_out, failures


def _look_at(
    item: str, output: Path, recursive: bool, records: Records, is_alone: bool
) -> list[tuple[Path | None, Survey]]:
    """What an argument names: folders with their contents, and files."""
    extensions = readable_extensions()

    def look_into(folder: Path) -> Survey:
        there = survey(folder, extensions, recursive, without=output)
        _leave_out_results(there, records)
        return there

    if not item.startswith(PACKAGE_SCHEME) and not os.path.lexists(Path(item).expanduser()):
        matches = sorted(glob.glob(os.path.expanduser(item), recursive=True))
        if not matches:
            raise PictureError(f"{item}: no such file, folder or pattern")
        there = Survey()
        folders: list[tuple[Path | None, Survey]] = []
        for path in map(Path, matches):
            if path.is_dir():
                if path.resolve() == output.resolve():
                    there.leave_out(_RESULTS, path)
                elif recursive:
                    folders.append((path.parent, look_into(path)))
                else:
                    there.leave_out(_SUB_FOLDERS, path)
            elif path.name.lower().endswith(extensions):
                there.pictures.append(path)
            else:
                there.leave_out("files that are no pictures", path)
        _leave_out_results(there, records)
        if not any(each.pictures or each.unreadable for _, each in (*folders, (None, there))):
            raise nothing_found(item, there, extensions, where="of this pattern")
        return [*folders, (None, there)]
    path = Path(item).expanduser()
    if os.path.lexists(path) and not path.exists():  # a broken link: reading it says so
        return [(None, Survey([path]))]
    path = resolve_root(item)
    if not path.is_dir():
        there = Survey([path])
        if not is_alone:  # the shell may have read a pattern
            _leave_out_results(there, records)
        return [(None, there)]
    there = look_into(path)
    if not there.pictures and _RESULTS in there.left_out:
        raise PictureError(
            f"{item}: all pictures in it are results that were written there; to restore them "
            "again, choose another output (-o)"
        )
    if not there.pictures and not there.unreadable:
        raise nothing_found(item, there, extensions)
    return [(path, there)]


def _leave_out_results(there: Survey, records: Records) -> None:
    """What an earlier run wrote into the folder of its sources is not restored again."""
    pictures, there.pictures = there.pictures, []
    for path in pictures:
        if records.is_result(path):
            there.leave_out(_RESULTS, path)
        else:
            there.pictures.append(path)


def _describe(there: Survey) -> list[str]:
    lines = there.descriptions()
    return [
        f"{line} (--recursive restores what is in them)" if _SUB_FOLDERS in line else line
        for line in lines
    ]


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
