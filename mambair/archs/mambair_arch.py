"""MambaIR, the first version: four scans a block instead of one.

"MambaIR: A Simple Baseline for Image Restoration with State-Space Model", Guo et al., ECCV 2024,
arXiv 2402.15648. State-dict keys are those of the checkpoints published by the authors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from mambair.archs.detection import detect_frame, width_ratio
from mambair.archs.feedforward import convolve_tokens, depthwise_conv
from mambair.archs.registry import register_arch
from mambair.archs.restoration_net import (
    ResidualConnection,
    RestorationNet,
    Stage,
    Upsampler,
    init_linear,
    residual_conv,
)
from mambair.archs.selective_ssm import SelectiveSSM
from mambair.ops.dense import dense
from mambair.signatures import suggests_arguments

_DIRECTIONS = 4
_SQUEEZE = 30  # of the channel attention
_COMPRESS, _COMPRESS_LIGHT = 3, 2  # of the convolutions before it


class VisionSSM(SelectiveSSM):
    """The 2D selective scan module (SS2D): rows, columns, and both backwards, in one scan.

    Args:
        dim: channels C.
        d_state: state size N.
        hidden_dim: inner width E.
    """

    def __init__(self, dim: int, d_state: int, hidden_dim: int) -> None:
        super().__init__(hidden_dim, d_state, math.ceil(dim / 16), _DIRECTIONS)
        self.in_proj = nn.Linear(dim, 2 * hidden_dim, bias=False)
        self.conv2d = depthwise_conv(hidden_dim, 3)
        self.out_norm = nn.LayerNorm(hidden_dim)
        self.out_proj = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same."""
        x, gate = dense(x, self.in_proj).chunk(2, dim=-1)  # (B, H, W, E) each
        x = F.silu(convolve_tokens(self.conv2d, x))
        height, width = x.shape[1:3]
        rows, columns = rearrange(x, "b y x e -> b (y x) e"), rearrange(x, "b y x e -> b (x y) e")
        y = self.scan(torch.stack([rows, columns, rows.flip(1), columns.flip(1)], dim=2))
        rows = y[:, :, 0] + y[:, :, 2].flip(1)
        columns = y[:, :, 1] + y[:, :, 3].flip(1)
        y = rearrange(rows, "b (y x) e -> b y x e", y=height)
        y = y + rearrange(columns, "b (x y) e -> b y x e", x=width)
        return dense(self.out_norm(y), self.out_proj, times=F.silu(gate))


class ChannelAttention(nn.Module):
    """Channel attention (RCAN, ECCV 2018): every channel times a weight made of all means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // _SQUEEZE, 1)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        weights: Tensor = self.attention(x)
        return x * weights


class ChannelAttentionBlock(nn.Module):
    """Convolutions through fewer channels, then channel attention (CAB).

    Args:
        dim: channels C.
        light: depthwise convolutions, one of them dilated, for the light networks.
    """

    def __init__(self, dim: int, light: bool) -> None:
        super().__init__()
        inner = dim // (_COMPRESS_LIGHT if light else _COMPRESS)
        if light:
            layers = [
                nn.Conv2d(dim, inner, 1),
                depthwise_conv(inner, 3),
                nn.GELU(),
                nn.Conv2d(inner, dim, 1),
                nn.Conv2d(dim, dim, 3, padding=2, dilation=2, groups=dim),
            ]
        else:
            layers = [
                nn.Conv2d(dim, inner, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(inner, dim, 3, padding=1),
            ]
        self.cab = nn.Sequential(*layers, ChannelAttention(dim))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same."""
        return convolve_tokens(self.cab, x)


class StochasticDepth(nn.Module):
    """Training leaves out a branch for some batch elements (Huang et al., ECCV 2016).

    Args:
        p: probability of leaving the branch out; what stays is divided by 1 − p.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``(B, …)`` to the same."""
        if not self.training or self.p == 0:
            return x
        kept = 1 - self.p
        mask = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(kept)
        return x * mask.div_(kept)


class VisionStateSpaceBlock(nn.Module):
    """The residual state-space block (arXiv 2402.15648, section 3.2).

    Args:
        dim: channels C.
        d_state: state size N.
        hidden_dim: inner width E of the scan.
        light: which :class:`ChannelAttentionBlock`.
        drop_path: probability that training leaves out the scan of a batch element.
    """

    def __init__(
        self, dim: int, d_state: int, hidden_dim: int, light: bool, drop_path: float
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, eps=1e-6)
        self.self_attention = VisionSSM(dim, d_state, hidden_dim)
        self.drop_path = StochasticDepth(drop_path)
        self.skip_scale = nn.Parameter(torch.ones(dim))
        self.ln_2 = nn.LayerNorm(dim)
        self.conv_blk = ChannelAttentionBlock(dim, light)
        self.skip_scale2 = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to the same."""
        x = x * self.skip_scale + self.drop_path(self.self_attention(self.ln_1(x)))
        local: Tensor = self.conv_blk(self.ln_2(x))
        return x * self.skip_scale2 + local


@register_arch
@suggests_arguments
class MambaIR(RestorationNet):
    """The state-space restoration network that MambaIRv2 is compared with.

    Args:
        img_size: side of the training input; kept because option files name it.
        patch_size: must be 1; kept because option files may name it.
        in_chans: colors of input and output, 3 (RGB) or 1 (gray).
        embed_dim: channels C.
        depths: blocks of every stage.
        d_state: state size N.
        mlp_ratio: inner width of the scan over C.
        drop_path_rate: stochastic depth (Huang et al., ECCV 2016) of the last block in training; it
            grows linearly from 0 at the first.
        patch_norm: LayerNorm before the first stage.
        use_checkpoint: recompute blocks in the backward pass: less memory, more time.
        upscale: scale of the output.
        img_range: factor of the normalized input, 1 in every published network.
        upsampler: reconstruction, see :class:`RestorationNet`; ``"pixelshuffledirect"`` also
            means the light channel attention.
        resi_connection: convolution after a stage: ``"1conv"`` or ``"3conv"``.
        scan_backend: backend of the selective scan, ``"auto"`` or a name, see
            :func:`mambair.ops.selective_scan`.

    Raises:
        TypeError: an unknown argument; names the nearest known one.
        ValueError: arguments that do not fit together.
    """

    def __init__(
        self,
        img_size: int = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        d_state: int = 16,
        mlp_ratio: float = 2.0,
        drop_path_rate: float = 0.1,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        upscale: int = 2,
        img_range: float = 1.0,
        upsampler: Upsampler = "",
        resi_connection: ResidualConnection = "1conv",
        scan_backend: str = "auto",
    ) -> None:
        super().__init__(
            in_chans, embed_dim, patch_norm, upscale, img_range, upsampler, resi_connection
        )
        if patch_size != 1:
            raise ValueError(f"patch_size must be 1, got {patch_size}")
        light = upsampler == "pixelshuffledirect"
        hidden_dim = int(embed_dim * mlp_ratio)
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f"drop_path_rate must be within 0 and 1, got {drop_path_rate}")
        last = max(sum(depths) - 1, 1)
        drops = iter([drop_path_rate * index / last for index in range(sum(depths))])
        for depth in depths:
            blocks: list[nn.Module] = [
                VisionStateSpaceBlock(embed_dim, d_state, hidden_dim, light, next(drops))
                for _ in range(depth)
            ]
            conv = residual_conv(embed_dim, resi_connection)
            self.layers.append(Stage(blocks, conv, use_checkpoint, "blocks"))
        self.apply(init_linear)
        self.set_scan_backend(scan_backend)

    @classmethod
    def detect(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Constructor arguments of a state dict; ``None``: it is another network's."""
        scan = "layers.0.residual_group.blocks.0.self_attention"
        if f"{scan}.A_logs" not in state:
            return None
        frame = detect_frame(state, "blocks")
        hidden_dim = state[f"{scan}.out_norm.weight"].shape[0]
        return {
            **frame,
            "d_state": state[f"{scan}.A_logs"].shape[1],
            "mlp_ratio": width_ratio(hidden_dim, frame["embed_dim"]),
        }
