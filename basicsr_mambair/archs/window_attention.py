"""Shifted-window multi-head self-attention (Swin Transformer, ICCV 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BETWEEN_REGIONS = -100.0  # added to the score of two tokens that only the roll brought together


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


def _region_mask(
    window_size: int, shift: int, last_row: bool, last_column: bool, like: Tensor
) -> Tensor:
    """Mask of one window after a roll by ``-shift``: ``(w², w²)`` of 0 and −100.

    Only windows of the last row or column hold pixels that the roll wrapped around: their last
    ``shift`` rows or columns come from the opposite border of the image.
    """
    wrapped = torch.arange(window_size, device=like.device) >= window_size - shift
    row = wrapped if last_row else torch.zeros_like(wrapped)
    column = wrapped if last_column else torch.zeros_like(wrapped)
    region = (2 * row.int()[:, None] + column.int()[None, :]).flatten()
    different = region[:, None] != region[None, :]
    return different.to(like.dtype) * _BETWEEN_REGIONS


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

    def forward(self, qkv: Tensor, index: Tensor, shift: int) -> Tensor:
        """Attends within the windows of a map.

        Args:
            qkv: ``(B, H, W, 3C)``; H and W multiples of w.
            index: :func:`relative_position_index` of w.
            shift: the windows are moved by this many pixels down and right, around the borders.

        Returns:
            ``(B, H, W, C)``.
        """
        if shift:
            qkv = qkv.roll((-shift, -shift), dims=(1, 2))
        batch, height, width, channels = qkv.shape
        w, heads = self.window_size, self.num_heads
        rows, columns = height // w, width // w

        # (3, B, rows, columns, heads, w², C/heads)
        q, k, v = (
            qkv.view(batch, rows, w, columns, w, 3, heads, channels // 3 // heads)
            .permute(5, 0, 1, 3, 6, 2, 4, 7)
            .flatten(5, 6)
            .unbind(0)
        )
        bias = self.relative_position_bias_table[index.flatten()]
        bias = bias.view(w * w, w * w, heads).permute(2, 0, 1).to(q.dtype).contiguous()

        if shift:
            out = torch.empty_like(v)
            for at, last_row, last_column in _window_groups(rows, columns):
                mask = _region_mask(w, shift, last_row, last_column, bias)
                out[at] = _attend(q[at], k[at], v[at], bias + mask)
        else:
            out = _attend(q, k, v, bias)

        # (B, rows, columns, heads, w, w, C/heads) -> (B, H, W, C)
        out = out.unflatten(4, (w, w)).permute(0, 1, 4, 2, 5, 3, 6)
        out = self.proj(out.reshape(batch, height, width, -1))
        return out.roll((shift, shift), dims=(1, 2)) if shift else out


def _window_groups(rows: int, columns: int) -> list[tuple[tuple[slice, ...], bool, bool]]:
    """Windows that share a mask: inner ones, last column, last row, last corner."""
    every, inner_rows, inner_columns = slice(None), slice(0, rows - 1), slice(0, columns - 1)
    last = slice(-1, None)
    groups = [
        ((every, inner_rows, inner_columns), False, False),
        ((every, inner_rows, last), False, True),
        ((every, last, inner_columns), True, False),
        ((every, last, last), True, True),
    ]
    return [group for group in groups if (group[1] or rows > 1) and (group[2] or columns > 1)]


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q kᵀ (C/heads)^−½ + bias) v over ``(B, rows, columns, heads, w², C/heads)``."""
    shape = q.shape
    q, k, v = (x.flatten(0, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0)).view(shape)
