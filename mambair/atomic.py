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

    File and folder are flushed to the disk, so that this also holds after a loss of power.

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
            with contextlib.suppress(OSError):  # it flushes, which fails again on a full disk
                file.close()  # Windows removes no open file
            temporary.unlink(missing_ok=True)
            raise
    try:
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Makes a renamed entry of a folder last; Windows cannot open folders, and need not."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse to flush a folder
        pass
    finally:
        os.close(descriptor)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Removes the temporary files of runs that were killed while they wrote ``path``."""
    path = Path(path)
    for leftover in path.parent.glob(f".{path.name}.*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def sweep(folder: str | os.PathLike[str]) -> list[Path]:
    """Removes the temporary files in a folder, and returns them; for a folder of one's own."""
    strays = sorted(Path(folder).glob(f".*{_SUFFIX}"))
    for stray in strays:
        stray.unlink(missing_ok=True)
    return strays


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
