"""Reads the bytes of a picture through BasicSR's storage backends."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from basicsr.utils import FileClient


def read_bytes(io: Mapping[str, Any], root: str, path: str) -> bytes | memoryview | None:
    """Returns the bytes of a picture.

    Args:
        io: an ``io_backend`` section: ``type`` (``disk``, ``lmdb`` or ``memcached``) and arguments.
        root: the data root; for ``lmdb``, the ``.lmdb`` folder.
        path: path of the picture, or its key in the LMDB.

    Returns:
        The bytes, or ``None`` if an LMDB has no such key.
    """
    arguments = {key: value for key, value in io.items() if key != "type"}
    if io["type"] == "lmdb":
        arguments["db_paths"] = root
    content: bytes | memoryview | None = _client(io["type"], tuple(sorted(arguments.items()))).get(
        path
    )
    return content


@cache
def _client(kind: str, arguments: tuple[tuple[str, Any], ...]) -> FileClient:
    """One client for all data sets of a process: LMDB refuses to open a folder twice."""
    return FileClient(kind, **dict(arguments))
