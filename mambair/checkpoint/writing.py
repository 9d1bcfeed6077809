"""Checkpoints are written completely or not at all, and an error says why not."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mambair.atomic import remove_leftovers, write_atomically
from mambair.checkpoint.contents import size_of
from mambair.checkpoint.safetensors_files import encode
from mambair.errors import CheckpointError, file_size


def save_checkpoint(contents: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a checkpoint so that ``path`` is either its old self or complete.

    Args:
        contents: a mapping that :func:`torch.save` can write.
        path: the file; its folder is created.

    Raises:
        CheckpointError: it could not be written; a file of that name is as it was.
    """
    _write(path, lambda file: torch.save(dict(contents), file), size_of(contents))


def save_safetensors(
    weights: Mapping[str, Tensor], path: str | os.PathLike[str], about: Mapping[str, Any]
) -> None:
    """Writes weights as safetensors, so that ``path`` is either its old self or complete.

    Args:
        weights: a state dict.
        path: the file; its folder is created.
        about: kept in the file's metadata, every value as JSON. ``load_checkpoint`` reads the entry
            ``network`` back, and compares the contents with a digest that is added.

    Raises:
        CheckpointError: it could not be written; a file of that name is as it was.
    """
    content = encode(weights, about)
    _write(path, lambda file: file.write(content), len(content))


class _Watched:
    """A file that keeps the reason why a write failed, which torch.save replaces by its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _write(path: str | os.PathLike[str], write: Callable[[Any], Any], size: int) -> None:
    """Writes a file of about ``size`` bytes, completely or not at all."""
    watched: list[_Watched] = []

    def write_watched(file: BinaryIO) -> None:
        watched.append(_Watched(file))
        write(watched[0])

    try:
        remove_leftovers(path)
        write_atomically(path, write_watched)
    except (OSError, RuntimeError) as error:
        cause = watched[0].error if watched and watched[0].error is not None else error
        raise CheckpointError(
            f"{path}: the checkpoint could not be written: {_why_unwritten(cause, path, size)}"
        ) from error


def _why_unwritten(error: Exception, path: str | os.PathLike[str], size: int) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(Path(path).parent).free
        return f"the disk is full: {file_size(size)} are needed and {file_size(free)} are free"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename or Path(path).parent} cannot be written to ({error.strerror})"
    return error.strerror or str(error)
