"""Which network a state dict belongs to, read from its keys and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from basicsr_mambair.archs.mambair_arch import MambaIR
from basicsr_mambair.archs.mambairv2_arch import MambaIRv2, MambaIRv2Light

_BLOCK = "layers.0.residual_group.layers.0"
_BLOCK_V1 = "layers.0.residual_group.blocks.0"


class DetectionError(ValueError):
    """The state dict is of no network this package knows."""


def detect_network(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The ``network_g`` section that builds the network of a state dict.

    Everything but ``img_range`` (not in any tensor; 1 in every published model) and what only
    concerns running (``use_checkpoint``, ``routing``…) is read from the tensors.

    Args:
        state: weights of a :class:`MambaIRv2`, :class:`MambaIRv2Light` or :class:`MambaIR`.

    Returns:
        ``type`` and constructor arguments.

    Raises:
        DetectionError: the keys are those of another network.
    """
    detectors = {
        f"{_BLOCK}.assm.selectiveScan.A_logs": _detect_v2,
        f"{_BLOCK_V1}.self_attention.A_logs": _detect_v1,
    }
    detect = next((detectors[key] for key in detectors if key in state), None)
    if detect is None or "conv_first.weight" not in state:
        raise DetectionError("these are no weights of MambaIRv2, MambaIRv2Light or MambaIR")
    try:
        return detect(state)
    except (KeyError, ZeroDivisionError) as error:
        raise DetectionError(f"these weights are incomplete: {error}") from error


def _detect_v2(state: Mapping[str, Tensor]) -> dict[str, Any]:
    embed_dim = state["conv_first.weight"].shape[0]
    light = f"{_BLOCK}.convffn1.sg.conv.weight" in state
    kernel = "sg.conv.weight" if light else "dwconv.depthwise_conv.0.weight"
    hidden_dim = state[f"{_BLOCK}.convffn1.fc1.weight"].shape[0]
    inner_rank, d_state = state[f"{_BLOCK}.embeddingA.weight"].shape
    frame = _detect_frame(state, "layers")
    bias_table = "layers.{}.residual_group.layers.0.win_mhsa.relative_position_bias_table"
    window_size = (math.isqrt(state[bias_table.format(0)].shape[0]) + 1) // 2
    network: dict[str, Any] = {
        "type": (MambaIRv2Light if light else MambaIRv2).__name__,
        **frame,
        "d_state": d_state,
        "num_heads": [state[bias_table.format(i)].shape[1] for i in range(len(frame["depths"]))],
        "window_size": window_size,
        "inner_rank": inner_rank,
        "num_tokens": state[f"{_BLOCK}.assm.embeddingB.weight"].shape[0],
        "convffn_kernel_size": state[f"{_BLOCK}.convffn1.{kernel}"].shape[-1],
        "mlp_ratio": _ratio(hidden_dim, embed_dim),
        "qkv_bias": f"{_BLOCK}.wqkv.bias" in state,
        "ape": "absolute_pos_embed" in state,
    }
    if network["ape"]:
        network["img_size"] = math.isqrt(state["absolute_pos_embed"].shape[1])
    return network


def _detect_v1(state: Mapping[str, Tensor]) -> dict[str, Any]:
    frame = _detect_frame(state, "blocks")
    return {
        "type": MambaIR.__name__,
        **frame,
        "d_state": state[f"{_BLOCK_V1}.self_attention.A_logs"].shape[1],
        "mlp_ratio": _ratio(
            state[f"{_BLOCK_V1}.self_attention.out_norm.weight"].shape[0], frame["embed_dim"]
        ),
    }


def _detect_frame(state: Mapping[str, Tensor], blocks: str) -> dict[str, Any]:
    """What :class:`RestorationNet` takes, and the depths of the stages."""
    embed_dim, in_chans = state["conv_first.weight"].shape[:2]
    upsampler, upscale = _reconstruction(state, in_chans)
    stages = range(_count(state, "layers.{}."))
    return {
        "upscale": upscale,
        "in_chans": in_chans,
        "embed_dim": embed_dim,
        "depths": [_count(state, f"layers.{i}.residual_group.{blocks}.{{}}.") for i in stages],
        "patch_norm": "patch_embed.norm.weight" in state,
        "upsampler": upsampler,
        "resi_connection": "3conv" if "conv_after_body.4.weight" in state else "1conv",
    }


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many of ``pattern.format(0)``, ``pattern.format(1)``, … are prefixes of a key."""
    count = 0
    while any(key.startswith(pattern.format(count)) for key in state):
        count += 1
    return count


def _ratio(hidden_dim: int, embed_dim: int) -> float:
    """A ratio with ``int(embed_dim * ratio) == hidden_dim``: the quotient, up to its rounding."""
    ratio = hidden_dim / embed_dim
    return ratio if int(embed_dim * ratio) == hidden_dim else math.nextafter(ratio, math.inf)


def _reconstruction(state: Mapping[str, Tensor], out_chans: int) -> tuple[str, int]:
    """Upsampler and upscale."""
    if "conv_up1.weight" in state:
        return "nearest+conv", 4
    if "conv_before_upsample.0.weight" in state:
        return "pixelshuffle", _pixelshuffle_scale(state)
    if "upsample.0.weight" in state:
        return "pixelshuffledirect", math.isqrt(state["upsample.0.weight"].shape[0] // out_chans)
    return "", 1


def _pixelshuffle_scale(state: Mapping[str, Tensor]) -> int:
    """Product of the factors of the convolutions ``upsample.0``, ``upsample.2``, …"""
    scale, index = 1, 0
    while f"upsample.{index}.weight" in state:
        out_channels, in_channels = state[f"upsample.{index}.weight"].shape[:2]
        scale *= math.isqrt(out_channels // in_channels)
        index += 2
    return scale
