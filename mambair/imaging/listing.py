"""Finding pictures in folders; every error names the file or folder."""

from __future__ import annotations

import fnmatch
import glob
import importlib.resources
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mambair.imaging.errors import PictureError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
PACKAGE_SCHEME = "pkg://"


def resolve_root(root: str | os.PathLike[str]) -> Path:
    """A file or folder on disk; ``pkg://package/folder`` is one inside an installed package.

    Raises:
        PictureError: it does not exist.
    """
    text = os.fspath(root)
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


def list_pictures(
    root: str | os.PathLike[str],
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
) -> list[Path]:
    """Pictures directly inside a folder, sorted by name.

    Args:
        root: folder, or ``pkg://package/folder``.
        include: glob patterns; a file name must match one of them.
        exclude: glob patterns; a file name must match none of them.

    Raises:
        PictureError: no such folder, a pattern of ``include`` that names nothing, or no picture.
    """
    folder = resolve_root(root)
    if not folder.is_dir():
        raise PictureError(f"{root}: is not a folder")
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_file() and entry.name.lower().endswith(EXTENSIONS)
        if not entry.name.startswith(".")
    )
    for pattern in include:
        if not fnmatch.filter(names, pattern):
            raise PictureError(f"{root}: no picture in this folder is named {pattern!r}")
    chosen = [name for name in names if _matches(name, include) and not _matches(name, exclude)]
    if not chosen:
        raise PictureError(f"{root}: no picture in this folder ({', '.join(EXTENSIONS)})")
    return [folder / name for name in chosen]


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
