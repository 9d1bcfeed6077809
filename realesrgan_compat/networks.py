"""From weights files to a network: ours and Real-ESRGAN's are recognized by their tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mambair.archs.registry import detect_network
from mambair.checkpoint import State, load_into, load_weights
from mambair.inference.interpolation import interpolate_weights
from mambair.inference.loading import network_of, read_network

_UNSHUFFLED = {3: 4, 12: 2, 48: 1}  # channels that an RRDBNet's first layer sees, and its scale


def load_model(paths: Sequence[Path], shares: Sequence[float]) -> nn.Module:
    """The network of a weights file, or of the mixture of several, in ``eval()``.

    Args:
        paths: ``.pth`` or ``.safetensors``, all of the same network.
        shares: the factor of each file's weights.

    Raises:
        CheckpointError: a file cannot be read, is not of a network known here, or does not fit the
            first.
    """
    weights, section = read_network(paths[0], detect=_detect)
    return network_of(_mixed(weights, paths, shares), section, paths[0])


def load_into_model(net: nn.Module, paths: Sequence[Path], shares: Sequence[float]) -> nn.Module:
    """Loads a weights file, or the mixture of several, into a network; sets it to ``eval()``.

    Raises:
        CheckpointError: see :func:`load_model`; says which keys and shapes do not fit.
    """
    weights, _ = load_weights(paths[0])
    load_into(net, _mixed(weights, paths, shares), paths[0])
    return net.eval()


def _mixed(first: State, paths: Sequence[Path], shares: Sequence[float]) -> State:
    if len(paths) == 1:
        return first
    others = [(path, load_weights(path)[0]) for path in paths[1:]]
    return interpolate_weights([(paths[0], first), *others], shares)


def _detect(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The section of Real-ESRGAN's networks, which are BasicSR's, or of ours."""
    return rrdbnet_section(state) or srvgg_section(state) or detect_network(state)


def rrdbnet_section(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The ``network_g`` section of an RRDBNet's weights; ``None`` if they are another's.

    Examples:
        >>> from realesrgan_compat.networks import rrdbnet_section
        >>> rrdbnet_section({})
    """
    first, grown = state.get("conv_first.weight"), state.get("body.0.rdb1.conv1.weight")
    last = state.get("conv_last.weight")
    if first is None or grown is None or last is None:
        return None
    return {
        "type": "RRDBNet",
        "num_in_ch": 3,
        "num_out_ch": last.shape[0],
        "scale": _UNSHUFFLED.get(first.shape[1], 4),
        "num_feat": first.shape[0],
        "num_block": 1 + max(_numbers(state, r"body\.(\d+)\.rdb1\.")),
        "num_grow_ch": grown.shape[0],
    }


def srvgg_section(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The ``network_g`` section of an SRVGGNetCompact's weights; ``None`` if they are another's.

    Only PReLU has weights; without them the activation is not known, and the network is not
    recognized.
    """
    first, activation = state.get("body.0.weight"), state.get("body.1.weight")
    if not all(re.fullmatch(r"body\.\d+\.(weight|bias)", name) for name in state):
        return None
    if first is None or first.ndim != 4 or activation is None or activation.ndim != 1:
        return None
    # Convolutions at even places, activations between them; the last convolution has none.
    last = max(_numbers(state, r"body\.(\d+)\."))
    channels, enlarged = first.shape[1], state[f"body.{last}.weight"].shape[0]
    return {
        "type": "SRVGGNetCompact",
        "num_in_ch": channels,
        "num_out_ch": channels,
        "num_feat": first.shape[0],
        "num_conv": last // 2 - 1,
        "upscale": round((enlarged / channels) ** 0.5),
        "act_type": "prelu",
    }


def _numbers(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    return [int(found[1]) for name in state if (found := re.match(pattern, name))]


def described(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Names the files, for a message."""
    return " and ".join(os.fspath(path) for path in paths)
