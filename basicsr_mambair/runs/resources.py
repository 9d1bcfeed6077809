"""What a process uses: memory, open files, threads."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def _place(process: int | None) -> Path:
    return Path("/proc", "self" if process is None else str(process))


def resident_memory(process: int | None = None) -> int | None:
    """Bytes of a process that are in memory; ``None`` where the system does not say.

    On macOS it is the largest number so far.

    Args:
        process: its number, on Linux; ``None``: this one.
    """
    try:
        pages = int((_place(process) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        pass
    if sys.platform != "darwin" or process is not None:
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def open_files(process: int | None = None) -> int | None:
    """Number of open files, pipes and sockets; ``None`` where the system does not say."""
    folders = [_place(process) / "fd", *([Path("/dev/fd")] if process is None else [])]
    for folder in folders:
        try:
            return len(os.listdir(folder)) - (process is None)  # the listing itself holds one open
        except OSError:
            continue
    return None


def threads(process: int | None = None) -> int | None:
    """Number of threads; of this process those of Python where the system does not say."""
    try:
        return len(os.listdir(_place(process) / "task"))
    except OSError:
        return threading.active_count() if process is None else None


def children(process: int | None = None) -> list[int]:
    """The processes that a process has started and that live, on Linux; elsewhere none.

    Args:
        process: its number; ``None``: this one.
    """
    found: list[int] = []
    for file in (_place(process) / "task").glob("*/children"):
        try:
            found += map(int, file.read_text().split())
        except OSError:  # the thread has just ended
            continue
    return found
