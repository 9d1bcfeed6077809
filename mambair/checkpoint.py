"""The one place where checkpoints are read and written."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mambair.atomic import remove_strays, write_atomically
from mambair.errors import UserError

# Where published files keep the weights, best first.
_WEIGHT_KEYS = ("params_ema", "params", "state_dict", "model")
_SHOWN = 4  # keys listed in an error before it says "and n more"


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be read or written, or does not fit the network; names the file."""


def save_checkpoint(contents: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a checkpoint so that ``path`` is either its old self or complete.

    Args:
        contents: what :func:`torch.save` takes.
        path: the file; its folder is created.

    Raises:
        CheckpointError: it could not be written; a file of that name is as it was.
    """
    _write(path, lambda file: torch.save(dict(contents), file))


def save_safetensors(
    weights: Mapping[str, Tensor], path: str | os.PathLike[str], about: Mapping[str, Any]
) -> None:
    """Writes weights as safetensors, so that ``path`` is either its old self or complete.

    Args:
        weights: a state dict.
        path: the file; its folder is created.
        about: kept in the file's metadata, every value as JSON.

    Raises:
        CheckpointError: it could not be written; a file of that name is as it was.
    """
    from safetensors.torch import save

    tensors = {name: value.contiguous() for name, value in weights.items()}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    content = save(tensors, metadata)
    _write(path, lambda file: file.write(content))


def _write(path: str | os.PathLike[str], write: Callable[[Any], Any]) -> None:
    try:
        remove_strays(path)
        write_atomically(path, write)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the checkpoint could not be written: {error}") from error


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a ``.pth``, ``.state`` or ``.safetensors`` file to the CPU; executes no code from it.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else than tensors,
            numbers and containers of them.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from error
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path}: holds a {type(contents).__name__}, not a checkpoint")
    return contents


def load_weights(
    path: str | os.PathLike[str], key: str | None = "params_ema"
) -> tuple[dict[str, Tensor], str | None]:
    """Reads the weights of a network.

    Args:
        path: ``.pth`` or ``.safetensors``.
        key: entry that holds them; another usual one is taken if it is missing. ``None``: the file
            itself is the state dict.

    Returns:
        The state dict, without ``module.`` prefixes, and the entry it came from (``None``: the file
        itself).

    Raises:
        CheckpointError: the file cannot be read or holds no weights.
    """
    return weights_of(load_checkpoint(path), path, key)


def weights_of(
    contents: dict[str, Any], path: str | os.PathLike[str], key: str | None = "params_ema"
) -> tuple[dict[str, Tensor], str | None]:
    """The weights in what :func:`load_checkpoint` read; see :func:`load_weights`."""
    found = next((k for k in (key, *_WEIGHT_KEYS) if k is not None and k in contents), None)
    weights = contents if key is None or found is None else contents[found]
    if not isinstance(weights, dict) or not all(torch.is_tensor(v) for v in weights.values()):
        raise CheckpointError(
            f"{path}: no weights under {key!r}; the file holds {_listed(contents)}"
        )
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights, None if weights is contents else found


def load_into(
    net: nn.Module, weights: Mapping[str, Tensor], path: str | os.PathLike[str], strict: bool = True
) -> list[str]:
    """Loads weights into a network.

    Args:
        net: the network.
        weights: a state dict.
        path: where it came from, for messages.
        strict: every key and shape must fit; otherwise what fits is loaded.

    Returns:
        With ``strict=False``, what was left out, a line each.

    Raises:
        CheckpointError: ``strict`` and something does not fit; says what, and which configuration
            the weights belong to if the network's class can tell.
    """
    own = net.state_dict()
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    misshapen = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    notes = []
    if missing:
        notes.append(f"keys of the network that the file lacks: {_listed(missing)}")
    if unexpected:
        notes.append(f"keys of the file that the network lacks: {_listed(unexpected)}")
    if misshapen:
        shapes = [
            f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
            for name in misshapen
        ]
        notes.append(f"other shapes in the file: {_listed(shapes)}")
    if strict and notes:
        lines = [f"{path}: these weights do not fit {type(net).__name__}", *notes]
        lines += _detected(weights)
        raise CheckpointError("\n  ".join(lines))
    net.load_state_dict(
        {k: v for k, v in weights.items() if k in own and k not in misshapen}, strict=strict
    )
    return notes


def _detected(weights: Mapping[str, Tensor]) -> list[str]:
    from mambair.archs.registry import DetectionError, detect_network

    try:
        network = detect_network(weights)
    except DetectionError:
        return []
    described = ", ".join(f"{key}: {value!r}" for key, value in network.items())
    return [f"the file holds a network of its own kind: {{{described}}}"]


def _listed(names: Any) -> str:
    names = [str(name) for name in names]
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
