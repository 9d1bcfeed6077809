"""Whether weights fit a network; loading them into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mambair.checkpoint.contents import State, non_finite
from mambair.checkpoint.layouts import without_prefixes
from mambair.errors import CheckpointError, listed


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
            f"{path}: these weights are not finite (NaN or infinite): {listed(wrong)}; "
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
        f"{name} {_kind(weights[name])} for {_kind(own[name])}"
        for name in own
        if name in weights and not _converts(weights[name], own[name])
    ]
    notes = []
    if types:
        notes.append(f"other kinds of numbers in the file: {listed(types)}")
    if missing:
        notes.append(f"keys of the network that the file lacks: {listed(missing)}")
    if unexpected:
        notes.append(f"keys of the file that the network lacks: {listed(unexpected)}")
    if shapes:
        notes.append(f"other shapes in the file: {listed(shapes)}")
    return notes


def _converts(value: Tensor, own: Tensor) -> bool:
    """Returns whether a tensor becomes one of the type of ``own`` without loss of its meaning."""
    return (
        value.is_complex() == own.is_complex()
        and (value.is_floating_point() or not own.is_floating_point())
        and value.layout == own.layout
    )


def _kind(tensor: Tensor) -> str:
    layout = "" if tensor.layout == torch.strided else f" {tensor.layout}"
    return f"{tensor.dtype}{layout}".replace("torch.", "")
