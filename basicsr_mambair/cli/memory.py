"""Settings of the process's memory."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc accepts no more
_LARGEST_INT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Lets glibc keep freed memory for the next tensor instead of giving it back to the system.

    By default every tensor of some megabytes is fetched from the system page by page and given back
    when it is freed; in a network on a CPU this happens in every layer. The peak of the
    process's memory does not change. Without glibc, nothing happens.

    Returns:
        True if the setting was made.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    made = mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return bool(made and mallopt(_TRIM_THRESHOLD, _LARGEST_INT))
