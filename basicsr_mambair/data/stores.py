"""Reads the bytes of a picture through BasicSR's storage backends."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import lmdb
from basicsr.utils import FileClient

from mambair.imaging.errors import PictureError
from mambair.imaging.reading import read_file


def read_bytes(io: Mapping[str, Any], root: str, path: str) -> bytes | memoryview | None:
    """Returns the bytes of a picture.

    Args:
        io: an ``io_backend`` section: ``type`` (``disk``, ``lmdb`` or ``memcached``) and arguments.
        root: the data root; for ``lmdb``, the ``.lmdb`` folder.
        path: path of the picture, or its key in the LMDB.

    Returns:
        The bytes, or ``None`` if an LMDB has no such key.

    Raises:
        PictureError: it cannot be read; names it.
    """
    if io["type"] == "disk":
        return read_file(path)  # BasicSR's own waits for ever at a pipe
    arguments = {key: value for key, value in io.items() if key != "type"}
    if io["type"] == "lmdb":
        arguments["db_paths"] = root
    try:
        content: bytes | memoryview | None = _client(
            io["type"], tuple(sorted(arguments.items()))
        ).get(path)
    except (lmdb.Error, UnicodeError, OSError) as error:
        raise PictureError(f"{root}: key {path!r}: cannot be read: {error}") from error
    return content


@cache
def _client(kind: str, arguments: tuple[tuple[str, Any], ...]) -> FileClient:
    """One client for all data sets of a process: LMDB refuses to open a folder twice."""
    return FileClient(kind, **dict(arguments))
