"""The residual state-space block of MambaIR, of which its networks of both shapes consist."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambair.archs.feedforward import convolve_tokens, depthwise_conv
from mambair.archs.vision_ssm import VisionSSM

SQUEEZE = 30  # of the channel attention
_COMPRESS, _COMPRESS_LIGHT = 3, 2  # of the convolutions before it


class ChannelAttention(nn.Module):
    """Channel attention (RCAN, ECCV 2018): every channel times a weight made of all means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // SQUEEZE, 1)
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


def check_drop_path(rate: float) -> None:
    """Raises :class:`ValueError` unless an argument ``drop_path_rate`` is a probability below 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path_rate must be within 0 and 1, got {rate}")


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
        eps: of the LayerNorm before the scan, which the published networks do not agree on.
    """

    def __init__(
        self,
        dim: int,
        d_state: int,
        hidden_dim: int,
        light: bool,
        drop_path: float,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, eps=eps)
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
