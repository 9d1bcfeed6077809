"""Which pictures the arguments of a command mean, and what of a folder is left out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mambair.imaging.errors import PictureError
from mambair.imaging.formats import readable_extensions
from mambair.imaging.listing import PACKAGE_SCHEME, Survey, nothing_found, resolve_root, survey
from mambair.inference.records import Records

_SUB_FOLDERS = "sub-folders"
_RESULTS = "results that were written there"


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
