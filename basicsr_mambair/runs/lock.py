"""One process at a time trains a run; whether one does."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mambair.errors import UserError

# A process that was killed may leave workers behind that notice it after some seconds.
_PATIENCE = 10.0


class RunBusyError(UserError):
    """Another process trains the run; the message names its folder."""


@contextmanager
def one_process(folder: str | Path) -> Iterator[None]:
    """Holds a run's lock, which the system takes back from a process that dies.

    It lies beside the folder, because a new run of the same name renames the folder.

    Args:
        folder: the folder of the run, which need not exist.

    Raises:
        OSError: the lock cannot be written.
        RunBusyError: another process holds it.
    """
    path = _lock_file(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        reason = os.strerror(errno.ENOTDIR)
        raise NotADirectoryError(errno.ENOTDIR, reason, str(path.parent)) from error
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise RunBusyError(
            f"{folder}: another process is training this run; give this one another name "
            "(--force_yml name=…), or end the other first"
        ) from None
    except NotImplementedError:  # some network file systems have no locks
        yield
        return
    try:
        yield
    finally:
        lock.release()


def is_running(folder: str | Path) -> bool:
    """Returns whether a process trains a run, on this machine or where its file system says so."""
    path = _lock_file(folder)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def _lock_file(folder: str | Path) -> Path:
    folder = Path(folder)
    return folder.parent / f".{folder.name}.lock"
