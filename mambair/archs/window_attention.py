"""Shifted-window multi-head self-attention (Swin Transformer, ICCV 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambair.ops.dense import Residual, dense
from mambair.ops.window_attention import window_attention


class WindowAttention(nn.Module):
    """Attention within w×w windows with a learned relative position bias.

    The projection to queries, keys and values is the caller's (``wqkv`` of the block, part of the
    state-dict contract).

    Args:
        dim: channels C; ``dim % num_heads == 0``.
        window_size: window side w.
        num_heads: heads.
    """

    def __init__(self, dim: int, window_size: int, num_heads: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(
            torch.empty((2 * window_size - 1) ** 2, num_heads)
        )
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.proj = nn.Linear(dim, dim)

    def forward(self, qkv: Tensor, index: Tensor, shift: int, residual: Residual) -> Tensor:
        """Attends within the windows of a map.

        Args:
            qkv: ``(B, H, W, 3C)``; H and W multiples of w.
            index: :func:`relative_position_index` of w.
            shift: the windows are moved by this many pixels down and right, around the borders.
            residual: added to the result.

        Returns:
            ``(B, H, W, C)``.
        """
        table = self.relative_position_bias_table
        y = window_attention(qkv, table, index, self.window_size, shift)
        return dense(y, self.proj, residual=residual)
