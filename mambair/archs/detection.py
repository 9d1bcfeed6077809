"""Detects the frames that networks share from a state dict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def detect_frame(state: Mapping[str, Tensor], blocks: str) -> dict[str, Any]:
    """The arguments of :class:`RestorationNet`, and the depths of the stages."""
    embed_dim, in_chans = state["conv_first.weight"].shape[:2]
    upsampler, upscale = _reconstruction(state, in_chans)
    stages = range(count_prefixes(state, "layers.{}."))
    blocks_of = f"layers.{{}}.residual_group.{blocks}.{{{{}}}}."
    return {
        "upscale": upscale,
        "in_chans": in_chans,
        "embed_dim": embed_dim,
        "depths": [count_prefixes(state, blocks_of.format(stage)) for stage in stages],
        "patch_norm": "patch_embed.norm.weight" in state,
        "upsampler": upsampler,
        "resi_connection": "3conv" if "conv_after_body.4.weight" in state else "1conv",
    }


def detect_unet(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of :class:`RestorationUNet`."""
    dim, inp_channels = state["patch_embed.proj.weight"].shape[:2]
    levels = [*(f"encoder_level{index}" for index in (1, 2, 3)), "latent"]
    return {
        "inp_channels": inp_channels,
        "out_channels": state["output.weight"].shape[0],
        "dim": dim,
        "num_blocks": [count_prefixes(state, f"{level}.{{}}.") for level in levels],
        "num_refinement_blocks": count_prefixes(state, "refinement.{}."),
        "bias": "output.bias" in state,
        "dual_pixel_task": "skip_conv.weight" in state,
    }


def count_prefixes(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many of ``pattern.format(0)``, ``pattern.format(1)``, … are prefixes of a key."""
    count = 0
    while any(key.startswith(pattern.format(count)) for key in state):
        count += 1
    return count


def width_ratio(hidden_dim: int, embed_dim: int) -> float:
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
