"""What a checkpoint holds: names, sizes, precision, and numbers that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from mambair.errors import CheckpointError, listed

State = dict[str, Tensor]

# The entry (of safetensors: of the metadata) that holds the section which builds the network.
SECTION_KEY = "network"


def size_of(contents: Any) -> int:
    """The bytes of the tensors in a checkpoint, at any depth."""
    if torch.is_tensor(contents):
        return contents.numel() * contents.element_size()
    if isinstance(contents, Mapping):
        return sum(size_of(value) for value in contents.values())
    return sum(map(size_of, contents)) if isinstance(contents, (list, tuple)) else 0


def lacks_data(contents: Any) -> bool:
    """Returns whether a tensor in a checkpoint, at any depth, is of the device ``meta``."""
    if torch.is_tensor(contents):
        return bool(contents.is_meta)
    values = contents.values() if isinstance(contents, Mapping) else contents
    return isinstance(contents, (Mapping, list, tuple)) and any(map(lacks_data, values))


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


def in_half_precision(state: Mapping[str, Tensor], source: Any) -> State:
    """Rounds the weights of a network to 16 bits (float16), for a file of half the size.

    Args:
        state: a state dict; tensors of integers stay as they are.
        source: the file that the weights come from, for the error.

    Raises:
        CheckpointError: weights are larger than float16 can hold (65,504).
    """
    half = {
        name: value.half() if value.is_floating_point() else value for name, value in state.items()
    }
    new = set(non_finite(half)) - set(non_finite(state))
    if new:
        raise CheckpointError(
            f"{source}: too large for 16 bits, which end at 65,504: {listed(sorted(new))}"
        )
    return half
