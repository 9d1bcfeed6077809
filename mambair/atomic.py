"""Files that are either their old selves or complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

_SUFFIX = ".part"


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Writes a file under another name first, so that ``path`` is its old self or complete.

    Args:
        path: the file; its folder is created.
        write: writes the contents to the open file that it is given.

    Raises:
        OSError: it could not be written; a file of that name is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX, delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            write(cast(BinaryIO, file))
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            file.close()  # Windows removes no open file
            temporary.unlink(missing_ok=True)
            raise
    try:
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Removes the temporary files of runs that were killed while they wrote ``path``."""
    path = Path(path)
    for leftover in path.parent.glob(f".{path.name}.*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
