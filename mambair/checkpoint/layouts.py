"""Where files of this and other projects hold the weights of a network, and under which names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mambair.checkpoint.contents import State
from mambair.checkpoint.reading import load_checkpoint
from mambair.errors import CheckpointError, listed

# Entries under which files keep the weights, best first.
_WEIGHT_KEYS = (
    "params_ema params ema_model ema state_dict model_state_dict model net_g netG net generator"
).split()
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile


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
            f"{path}: several entries hold weights, {listed(found)}; "
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


def _described(contents: Mapping[str, Any]) -> str:
    """Keys, and what is under them."""

    def kind(value: Any) -> str:
        if isinstance(value, Mapping):
            return "an empty section" if not value else f"a section of {listed(value, 2)}"
        return type(value).__name__

    return listed(f"{key!r} ({kind(value)})" for key, value in contents.items()) or "nothing"
