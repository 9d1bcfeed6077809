"""The selective scan over a picture: what MambaIR's networks scan with."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from mambair.archs.feedforward import convolve_tokens, depthwise_conv
from mambair.archs.selective_ssm import SelectiveSSM
from mambair.ops.dense import dense

_DIRECTIONS = 4


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
