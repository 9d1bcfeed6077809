"""Shifted-window multi-head self-attention (Swin Transformer, ICCV 2021, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from basicsr_mambair.ops.dense import Residual, dense
from basicsr_mambair.ops.window_attention import window_attention


def relative_position_index(window_size: int) -> Tensor:
    """Index into the relative position bias table for every pair of tokens of a window.

    Returns:
        int64 ``(w², w²)`` with values in ``[0, (2w − 1)²)``.
    """
    y, x = torch.meshgrid(torch.arange(window_size), torch.arange(window_size), indexing="ij")
    y, x = y.flatten(), x.flatten()
    span = 2 * window_size - 1
    dy = y[:, None] - y[None, :] + window_size - 1
    dx = x[:, None] - x[None, :] + window_size - 1
    return dy * span + dx


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
        self._kept_bias: tuple[Tensor, Tensor] | None = None

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
        y = window_attention(qkv, self._bias(index), self.window_size, shift)
        return dense(y, self.proj, residual=residual)

    def _bias(self, index: Tensor) -> Tensor:
        """The bias of every pair of tokens ``(heads, w², w²)``; on CPUs kept for the next pass."""
        table = self.relative_position_bias_table
        keep = table.device.type == "cpu" and not (
            torch.is_grad_enabled() or torch.compiler.is_compiling()
        )
        # By value: BasicSR's EMA writes through ``.data``, which leaves no trace in the version.
        if keep and self._kept_bias is not None and torch.equal(self._kept_bias[0], table):
            return self._kept_bias[1]
        tokens = self.window_size**2
        bias = table[index.flatten()].view(tokens, tokens, self.num_heads)
        bias = bias.permute(2, 0, 1).contiguous()
        if keep:
            self._kept_bias = (table.detach().clone(), bias)
        return bias

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave out what can be made again."""
        return {**self.__dict__, "_kept_bias": None}
