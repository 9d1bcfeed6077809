"""The base of every error that a user can mend; importing it loads nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """Something the user gave is wrong, or something the user can install is missing.

    The message says what is wrong, where (the file, and the key or argument) and what would be
    right. The command line shows it without a traceback.
    """


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be found, read or written, or does not fit the network; names the file.

    It is here because finding weights by name needs no torch, which :mod:`mambair.checkpoint` does.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice: Python's, or torch's on any device.

    Examples:
        >>> is_out_of_memory(MemoryError())
        True
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory"))  # on Windows
        True
        >>> is_out_of_memory(RuntimeError("a mask in memory has another shape"))
        False
    """
    text = str(error)
    told = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(each in text for each in told)


def listed(names: Iterable[Any], shown: int = 4) -> str:
    """The first of some names for a message, and how many more there are.

    Examples:
        >>> listed("abcdef")
        'a, b, c, d, and 2 more'
    """
    names = [str(name) for name in names]
    more = f", and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def file_size(count: float) -> str:
    """A number of bytes for a message, in kilobytes or megabytes.

    Examples:
        >>> file_size(2_300), file_size(1_234_567_890)
        ('2.3 kB', '1,234.6 MB')
    """
    return f"{count / 1e3:.1f} kB" if count < 1e5 else f"{count / 1e6:,.1f} MB"
