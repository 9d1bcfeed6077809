"""The one place where checkpoints are read and written."""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import math
import os
import pathlib
import pickle
import re
import shutil
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from mambair.atomic import remove_leftovers, write_atomically
from mambair.errors import CheckpointError

__all__ = [
    "SECTION_KEY",
    "CheckpointError",
    "check_fits",
    "load_checkpoint",
    "load_into",
    "load_weights",
    "non_finite",
    "save_checkpoint",
    "save_safetensors",
    "size_of",
    "weights_of",
    "without_prefixes",
]

State = dict[str, Tensor]

# Entries under which files keep the weights, best first.
_WEIGHT_KEYS = (
    "params_ema params ema_model ema state_dict model_state_dict model net_g netG net generator"
).split()
# The entry (of safetensors: of the metadata) that holds the section which builds the network.
SECTION_KEY = "network"
_DIGEST_KEY = "sha256"  # of safetensors, in the metadata
_SECTION_KEYS = (SECTION_KEY, "network_g")  # the second: files of version 0.1.0
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_SHOWN = 4  # keys listed in an error before "and n more"

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
        about: kept in the file's metadata, every value as JSON. :func:`load_checkpoint` reads the
            entry ``network`` back, and compares the contents with a digest that is added.

    Raises:
        CheckpointError: it could not be written; a file of that name is as it was.
    """
    from safetensors.torch import save

    tensors = {name: value.contiguous() for name, value in weights.items()}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    metadata[_DIGEST_KEY] = _digest(tensors, metadata)
    content = save(tensors, metadata)
    _write(path, lambda file: file.write(content), len(content))


class _Watched:
    """A file that keeps the reason why a write failed, which torch.save replaces by its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None
        self.written = 0

    def write(self, data: Any) -> int:
        try:
            count = self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.written += count
        return count

    def flush(self) -> None:
        self._file.flush()


def _digest(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of weights and metadata."""
    digest = hashlib.sha256(json.dumps(dict(sorted(metadata.items()))).encode())
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
        return f"the disk is full: {size / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename or Path(path).parent} cannot be written to ({error.strerror})"
    return error.strerror or str(error)


def size_of(contents: Any) -> int:
    """The bytes of the tensors in a checkpoint, at any depth."""
    if torch.is_tensor(contents):
        return contents.numel() * contents.element_size()
    if isinstance(contents, Mapping):
        return sum(size_of(value) for value in contents.values())
    return sum(map(size_of, contents)) if isinstance(contents, (list, tuple)) else 0


def non_finite(contents: Any, name: str = "") -> list[str]:
    """Names the tensors and numbers in a checkpoint, at any depth, that are infinite or NaN."""
    if torch.is_tensor(contents):
        inexact = contents.is_floating_point() or contents.is_complex()
        return [name] if inexact and not bool(torch.isfinite(contents).all()) else []
    if isinstance(contents, float):
        return [] if math.isfinite(contents) else [name]
    if isinstance(contents, Mapping):
        pairs: Iterable[tuple[Any, Any]] = contents.items()
    elif isinstance(contents, (list, tuple)):
        pairs = enumerate(contents)
    else:
        return []
    return [each for key, value in pairs for each in non_finite(value, f"{name}.{key}".lstrip("."))]


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
        return _load_safetensors(path)
    if head[:2] not in (b"PK", b"\x80\x02"):
        found = "is empty" if not head else "is not a PyTorch or safetensors file"
        if head.startswith(b"version "):
            found += ", but the pointer to one that Git LFS has not fetched"
        raise CheckpointError(f"{path}: {found}")
    return _load_torch(path)


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is damaged: {error}") from error
    if metadata.pop(_DIGEST_KEY, None) not in (None, _digest(weights, metadata)):
        raise CheckpointError(f"{path}: is damaged: its contents are not those that were written")
    contents: dict[str, Any] = {"params": weights}
    for key in _SECTION_KEYS:
        if key in metadata:
            try:
                contents[SECTION_KEY] = json.loads(metadata[key])
            except ValueError as error:
                raise CheckpointError(f"{path}: its metadata are damaged: {key}") from error
            break
    return contents


def _load_torch(path: Path) -> dict[str, Any]:
    _check_sums(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise CheckpointError(f"{path}: {_why_unreadable(error)}") from error
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path}: holds a {type(contents).__name__}, not a checkpoint")
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


def load_weights(
    path: str | os.PathLike[str], key: str | None = "params_ema"
) -> tuple[State, str | None]:
    """Reads the weights of a network.

    Args:
        path: ``.pth`` or ``.safetensors``.
        key: the entry that holds them; if it is missing, the entry that holds weights is taken.

    Returns:
        The state dict, without the prefixes of wrappers (``module.``, ``_orig_mod.``), and the
        entry it came from (``None``: the file itself).

    Raises:
        CheckpointError: the file cannot be read or holds no weights.
    """
    return weights_of(load_checkpoint(path), path, key)


def weights_of(
    contents: Mapping[str, Any], path: str | os.PathLike[str], key: str | None = "params_ema"
) -> tuple[State, str | None]:
    """The weights in what :func:`load_checkpoint` read; see :func:`load_weights`.

    An entry of that name is taken, then one of the names in use, then the only one that holds
    tensors, at any depth (``model → params_ema``).
    """
    if _is_state(contents):
        return _unwrapped(contents), None
    found = _find_state(contents, key)
    if not found:
        tensors = {k: v for k, v in contents.items() if torch.is_tensor(v) and "." in str(k)}
        if tensors:  # weights with numbers among them
            return _unwrapped(tensors), None
        wanted = "no weights" if key is None else f"no weights under {key!r} or another name"
        raise CheckpointError(f"{path}: {wanted}; the file holds {_described(contents)}")
    if len(found) > 1:
        raise CheckpointError(
            f"{path}: several entries hold weights, {_listed(found)}; "
            "save the one that is meant alone"
        )
    ((name, state),) = found.items()
    if key is not None and key in contents and name != key:
        warnings.warn(f"{path}: {key!r} is empty; the weights of {name!r} are taken", stacklevel=2)
    return _unwrapped(state), name


def _find_state(contents: Mapping[str, Any], key: str | None) -> dict[str, Mapping[str, Tensor]]:
    """The entry with weights, or all if nothing tells which is meant."""
    for name in (key, *_WEIGHT_KEYS):
        if name is not None and _is_state(contents.get(name)):
            return {name: contents[name]}
    found = {str(name): value for name, value in contents.items() if _is_state(value)}
    if found:
        return found
    for name, value in contents.items():
        if isinstance(value, Mapping):
            found |= {
                f"{name} → {inner}": state for inner, state in _find_state(value, key).items()
            }
    return found


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and torch.is_tensor(each) for name, each in value.items())
    )


def _unwrapped(state: Mapping[str, Tensor]) -> State:
    """Without what DataParallel and torch.compile put before names, wherever they wrapped."""
    return {_without_wrappers(name): value for name, value in state.items()}


def _without_wrappers(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name.replace("._orig_mod.", ".")


def without_prefixes(weights: Mapping[str, Tensor]) -> Iterator[State]:
    """The weights as they are, then without the first part of their names as often as all share it.

    Training scripts name the network within a larger module (``net_g.``, ``model.``, ``ema.``);
    some networks have such a part of their own. The caller, who has the network, uses those that
    fit.
    """
    state = dict(weights)
    yield state
    while len(parts := {name.partition(".")[0] for name in state}) == 1:
        prefix = f"{parts.pop()}."
        if not all(name.startswith(prefix) and len(name) > len(prefix) for name in state):
            return
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        yield state


def check_fits(
    net: nn.Module,
    weights: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    identify: Callable[[Mapping[str, Tensor]], str | None] | None = None,
) -> None:
    """Compares weights with a network, which may be on the device ``meta``.

    Args:
        net: the network.
        weights: a state dict; a common prefix is removed as :func:`load_into` does.
        path: the file of the weights, for messages.
        identify: says, for the message, which network the weights belong to, if it can.

    Raises:
        CheckpointError: something does not fit; says which keys and shapes.
    """
    own = net.state_dict()
    notes = _differences(own, _named_as(own, weights))
    if notes:
        lines = [f"{path}: these weights do not fit {type(net).__name__}", *notes]
        described = identify(weights) if identify is not None else None
        if described:
            lines.append(f"the file holds {described}")
        raise CheckpointError("\n  ".join(lines))


def _named_as(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> State:
    """The weights without a common prefix that the names of a network lack."""
    return max(without_prefixes(weights), key=lambda state: len(own.keys() & state.keys()))


def load_into(
    net: nn.Module,
    weights: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    strict: bool = True,
    identify: Callable[[Mapping[str, Tensor]], str | None] | None = None,
) -> list[str]:
    """Loads weights into a network; a common prefix that its names lack is removed.

    Args:
        net: the network.
        weights: a state dict.
        path: the file of the weights, for messages.
        strict: whether every key and shape must fit; otherwise those that fit are loaded.
        identify: says, for the message, which network the weights belong to, if it can.

    Returns:
        With ``strict=False``, the weights that were left out, one line for each kind of misfit.

    Raises:
        CheckpointError: ``strict`` and something does not fit (says which keys and shapes), or
            weights are not finite (says which).
    """
    own = net.state_dict()
    weights = _named_as(own, weights)
    notes = _differences(own, weights)
    if strict:
        check_fits(net, weights, path, identify)
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape and _converts(value, own[name])
    }
    _check_numbers(fitting, path)
    net.load_state_dict(fitting, strict=strict)
    return notes


def _check_numbers(weights: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Raises ``CheckpointError`` for weights that would restore nothing."""
    wrong = non_finite(weights)
    if wrong:
        raise CheckpointError(
            f"{path}: these weights are not finite (NaN or infinite): {_listed(wrong)}; "
            "take an earlier checkpoint"
        )


def _differences(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Lists the differences between a network's state dict and weights, one line for each kind."""
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    shapes = [
        f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in weights and own[name].shape != weights[name].shape
    ]
    types = [
        f"{name} {weights[name].dtype} for {own[name].dtype}".replace("torch.", "")
        for name in own
        if name in weights and not _converts(weights[name], own[name])
    ]
    notes = []
    if types:
        notes.append(f"other kinds of numbers in the file: {_listed(types)}")
    if missing:
        notes.append(f"keys of the network that the file lacks: {_listed(missing)}")
    if unexpected:
        notes.append(f"keys of the file that the network lacks: {_listed(unexpected)}")
    if shapes:
        notes.append(f"other shapes in the file: {_listed(shapes)}")
    return notes


def _converts(value: Tensor, own: Tensor) -> bool:
    """Returns whether a tensor becomes one of the type of ``own`` without loss of its meaning."""
    return value.is_complex() == own.is_complex() and (
        value.is_floating_point() or not own.is_floating_point()
    )


def _described(contents: Mapping[str, Any]) -> str:
    """Keys, and what is under them."""

    def kind(value: Any) -> str:
        if isinstance(value, Mapping):
            return "an empty section" if not value else f"a section of {_listed(value, 2)}"
        return type(value).__name__

    return _listed(f"{key!r} ({kind(value)})" for key, value in contents.items()) or "nothing"


def _listed(names: Iterable[Any], shown: int = _SHOWN) -> str:
    names = [str(name) for name in names]
    more = f", and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
