"""Checkpoints are read without executing anything in them; what is damaged is named."""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import re
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mambair.checkpoint import safetensors_files
from mambair.checkpoint.contents import lacks_data
from mambair.errors import CheckpointError

# Types that training scripts store together with the weights. Creating one of them executes no
# code of the file; everything else that is not a tensor, a number or a container is refused.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    defaultdict,
    dict,
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    np.dtype,
    np.ndarray,
    *{type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"},
    *(
        # numpy's own functions, taken from its objects: the module has had two names.
        (value.__reduce__()[0], f"{module}.multiarray.{name}")
        for name, value in (("scalar", np.float64(0)), ("_reconstruct", np.zeros(0)))
        for module in ("numpy.core", "numpy._core")
    ),
]


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a PyTorch or safetensors file to the CPU; executes no code from it.

    Args:
        path: ``.pth``, ``.state`` or ``.safetensors``; the contents tell which, not the name.

    Returns:
        The contents as they were saved. A safetensors file gives BasicSR's layout: ``params`` and,
        if its metadata hold one, the section ``network``.

    Raises:
        CheckpointError: the file is missing, damaged, or holds objects that might execute code.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if head[8:9] == b"{":
        return safetensors_files.read(path)
    if head[:2] not in (b"PK", b"\x80\x02"):
        found = "is empty" if not head else "is not a PyTorch or safetensors file"
        if head.startswith(b"version "):
            found += ", but the pointer to one that Git LFS has not fetched"
        raise CheckpointError(f"{path}: {found}")
    return _load_torch(path)


def _load_torch(path: Path) -> dict[str, Any]:
    _check_sums(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise CheckpointError(f"{path}: {_why_unreadable(error)}") from error
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path}: holds a {type(contents).__name__}, not a checkpoint")
    if lacks_data(contents):
        raise CheckpointError(f"{path}: holds tensors of the device meta, which have no numbers")
    return contents


def _check_sums(path: Path) -> None:
    """Compares a file with the checksums in it, which torch.load does not do.

    Raises:
        CheckpointError: bytes have changed.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception:  # not a zip file, or a torn one: torch says what is wrong
        return
    with archive:
        # torch.serialization.set_crc32_options(False) leaves all of them 0.
        if not any(entry.CRC for entry in archive.infolist()):
            return
        try:
            damaged = archive.testzip()
        except Exception as error:  # changed headers may raise anything
            raise CheckpointError(f"{path}: is damaged: {error}") from error
    if damaged is not None:
        raise CheckpointError(
            f"{path}: is damaged: the checksum of {damaged} is not the one it was written with"
        )


def _why_unreadable(error: Exception) -> str:
    text = str(error)
    foreign = re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", text)
    if foreign is not None:
        name = foreign[1] or foreign[2]
        return (
            f"holds an object of {name} in addition to or instead of weights, which is not loaded "
            "because it might execute code; save the weights alone, with "
            "torch.save(net.state_dict(), …)"
        )
    if "TorchScript" in text:
        return "is a TorchScript program; the weights alone are needed, as torch.save writes them"
    if isinstance(error, pickle.UnpicklingError) and "Weights only load failed" in text:
        return "holds objects that are not loaded, because they might execute code"
    return f"is damaged or truncated: {text.strip().splitlines()[0] if text.strip() else error!r}"
