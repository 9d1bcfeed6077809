"""What this process uses: memory, open files, threads."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

_PROC = Path("/proc/self")


def resident_memory() -> int | None:
    """Bytes of this process that are in memory; ``None`` where the system does not say.

    On macOS it is the largest number so far.
    """
    try:
        pages = int((_PROC / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        pass
    if sys.platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def open_files() -> int | None:
    """Number of open files, pipes and sockets; ``None`` where the system does not say."""
    for folder in (_PROC / "fd", Path("/dev/fd")):
        try:
            return len(os.listdir(folder)) - 1  # the listing itself holds one open
        except OSError:
            continue
    return None


def threads() -> int:
    """Number of threads, those of native libraries included where the system says."""
    try:
        return len(os.listdir(_PROC / "task"))
    except OSError:
        return threading.active_count()
