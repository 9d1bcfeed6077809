"""Finding pictures in folders; every error names the file or folder."""

from __future__ import annotations

import fnmatch
import glob
import importlib.resources
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mambair.errors import listed
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS_BY_EXTENSION, needs_package

#: Extensions of the files that data sets are made of.
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
PACKAGE_SCHEME = "pkg://"
_SHOWN = 5  # names in a message


def resolve_root(root: str | os.PathLike[str]) -> Path:
    """A file or folder on disk; ``pkg://package/folder`` is one inside an installed package.

    Raises:
        PictureError: it does not exist.
    """
    text = os.fspath(root)
    if not text:
        raise PictureError("'' names no file or folder (an empty variable?)")
    if not text.startswith(PACKAGE_SCHEME):
        path = Path(text).expanduser()
        if not path.exists():
            raise PictureError(f"{text}: there is no such file or folder")
        return path
    package, _, inside = text.removeprefix(PACKAGE_SCHEME).partition("/")
    try:
        path = Path(str(importlib.resources.files(package).joinpath(inside)))
    except ModuleNotFoundError as error:
        raise PictureError(f"{text}: package {package!r} is not installed") from error
    if not path.exists():
        raise PictureError(f"{text}: package {package!r} holds no {inside!r}")
    return path


@dataclass
class Survey:
    """What is in a folder.

    Attributes:
        pictures: files whose names are those of pictures, sorted.
        unreadable: entries named like pictures that are no files, and folders that cannot be
            listed; with the reason.
        left_out: everything else, by what it is.
    """

    pictures: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def leave_out(self, what: str, path: Path) -> None:
        """Notes an entry that is not taken."""
        self.left_out.setdefault(what, []).append(path)

    def descriptions(self) -> list[str]:
        """Returns one line for each kind of entry that was left out: how many, and which."""
        return [f"{len(paths)} {what}: {name_some(paths)}" for what, paths in self.left_out.items()]


def name_some(paths: Sequence[Path]) -> str:
    """Returns the names of a few files, and how many more there are."""
    return listed([path.name for path in paths], _SHOWN)


def printable(text: str) -> str:
    """Text for a screen: line breaks and bytes that are no text, which names may hold, as escapes.

    Examples:
        >>> from mambair.imaging.listing import printable
        >>> printable("two\\nlines.png")
        'two\\\\nlines.png'
    """
    shown = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def survey(
    folder: Path,
    extensions: Sequence[str] = EXTENSIONS,
    recursive: bool = False,
    without: Path | None = None,
) -> Survey:
    """Looks at everything in a folder; follows links, but none in a circle.

    Args:
        folder: an existing folder.
        extensions: of the files to take, in lower case.
        recursive: look into sub-folders too.
        without: a folder that is left out.

    Raises:
        PictureError: the folder cannot be listed.
    """
    found = Survey()
    _look_into(folder, found, tuple(extensions), recursive, without, set())
    if folder in found.unreadable:
        raise PictureError(f"{folder}: {found.unreadable[folder]}")
    found.pictures.sort()
    return found


def _look_into(
    folder: Path,
    found: Survey,
    extensions: tuple[str, ...],
    recursive: bool,
    without: Path | None,
    seen: set[tuple[int, int]],
) -> None:
    try:
        identity = os.stat(folder)
        if (identity.st_dev, identity.st_ino) in seen:
            return  # a link to a folder above, or a second one to the same
        seen.add((identity.st_dev, identity.st_ino))
        names = sorted(os.listdir(folder))
    except OSError as error:
        found.unreadable[folder] = f"cannot be listed: {error.strerror}"
        return
    for name in names:
        path = folder / name
        is_named_so = name.lower().endswith(extensions)
        try:
            kind = os.stat(path).st_mode
        except OSError as error:
            if is_named_so and not name.startswith("."):
                found.unreadable[path] = f"cannot be read: {error.strerror}"
            else:
                found.leave_out("broken links", path)
            continue
        if name.startswith("."):
            found.leave_out("hidden entries", path)
        elif stat.S_ISDIR(kind):
            if without is not None and path.resolve() == without.resolve():
                found.leave_out("folders of results", path)
            elif recursive:
                _look_into(path, found, extensions, recursive, without, seen)
            else:
                found.leave_out("sub-folders", path)
        elif not is_named_so:
            found.leave_out(_kind_of_file(path), path)
        elif not stat.S_ISREG(kind):
            found.unreadable[path] = "is not a file but a pipe, a socket or a device"
        else:
            found.pictures.append(path)


def _kind_of_file(path: Path) -> str:
    form = FORMATS_BY_EXTENSION.get(path.suffix.lower())
    if form is None:
        return "files that are no pictures"
    if not form.is_available:
        return f"pictures whose format {needs_package(form)}"
    return "pictures of a format that data sets do not use"


def list_pictures(
    root: str | os.PathLike[str],
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    keep_unreadable: bool = False,
) -> list[Path]:
    """Pictures directly inside a folder, sorted by name.

    Args:
        root: folder, or ``pkg://package/folder``.
        include: glob patterns; a file name must match one of them.
        exclude: glob patterns; a file name must match none of them.
        keep_unreadable: also return what is named like a picture but is no file (a pipe, a link
            that leads nowhere): reading it will fail by name, and the other pictures can be read.

    Raises:
        PictureError: no such folder, a pattern of ``include`` that names nothing, no picture, or
            something named like one that is no file; names it.
    """
    folder = resolve_root(root)
    if not folder.is_dir():
        raise PictureError(f"{root}: is not a folder")
    found = survey(folder)
    paths = sorted([*found.pictures, *found.unreadable])
    for pattern in include:
        if paths and not fnmatch.filter([path.name for path in paths], pattern):
            raise PictureError(f"{root}: no picture in this folder is named {pattern!r}")
    chosen = [
        path for path in paths if _matches(path.name, include) and not _matches(path.name, exclude)
    ]
    if not chosen:
        raise nothing_found(root, found, EXTENSIONS)
    unreadable = next((path for path in chosen if path in found.unreadable), None)
    if unreadable is not None and not keep_unreadable:
        raise PictureError(f"{unreadable}: {found.unreadable[unreadable]}")
    return chosen


def nothing_found(
    root: str | os.PathLike[str],
    found: Survey,
    extensions: Sequence[str],
    where: str = "in this folder",
) -> PictureError:
    """Returns the error for a folder without pictures: says what is there instead."""
    there = "; ".join(found.descriptions()) or "it is empty"
    if found.pictures:
        there = f"{len(found.pictures)} are excluded"
    formats = ", ".join(extensions)
    return PictureError(f"{root}: no picture {where} ({there}); pictures are {formats}")


def pictures_of(argument: str) -> list[Path]:
    """The pictures that an argument of a command means.

    Args:
        argument: a file, a folder (its pictures), or a glob (the pictures among its matches).

    Raises:
        PictureError: there is nothing of that name, or no picture in the folder.
    """
    if not argument.startswith(PACKAGE_SCHEME) and not Path(argument).expanduser().exists():
        matches = sorted(glob.glob(os.path.expanduser(argument), recursive=True))
        paths = [Path(match) for match in matches if match.lower().endswith(EXTENSIONS)]
        if not paths:
            raise PictureError(f"{argument}: no such file, folder or pattern")
        return paths
    path = resolve_root(argument)
    return list_pictures(path) if path.is_dir() else [path]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def as_list(value: Any) -> list[Any]:
    """An option that may be missing, one value or a list of values, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
