"""Attention within shifted windows of a map (Swin Transformer, ICCV 2021, section 3.2).

:func:`window_attention` has two implementations of the same sum: PyTorch's fused attention over
windows cut out of the map, which differentiates and runs anywhere, and a C++ kernel for inference
on CPUs, which reads the windows where they are and keeps one window's scores in cache.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from basicsr_mambair.ops import native

BETWEEN_REGIONS = -100.0  # added to the score of two tokens that only the roll brought together
_PADDING = -1e30


def window_attention(qkv: Tensor, bias: Tensor, window_size: int, shift: int) -> Tensor:
    """softmax(q kᵀ (C/heads)^−½ + bias + mask) v within every window of a rolled map.

    Args:
        qkv: ``(B, H, W, 3C)``, queries, keys and values, each heads × C/heads; H and W multiples of
            the window.
        bias: ``(heads, w², w²)``.
        window_size: side w.
        shift: the map is rolled by ``-shift`` in both axes before it is cut into windows, and back
            afterwards; pixels from opposite borders do not see each other (−100).

    Returns:
        ``(B, H, W, C)``.
    """
    if _native_can_run(qkv, bias):
        out: Tensor = native_attention(qkv, bias, window_size, shift)
        return out
    return _torch_attention(qkv, bias, window_size, shift)


def _native_can_run(qkv: Tensor, bias: Tensor) -> bool:
    return (
        native.AVAILABLE
        and qkv.device.type == "cpu"
        and qkv.dtype == bias.dtype == torch.float32
        and not (torch.is_grad_enabled() and (qkv.requires_grad or bias.requires_grad))
        and qkv.shape[3] // 3 // bias.shape[0] <= native.MAX_HEAD_DIM
    )


@torch.library.custom_op(
    "mambair::window_attention",
    mutates_args=(),
    schema="(Tensor qkv, Tensor bias, int window_size, int shift) -> Tensor",
)
def native_attention(qkv: Tensor, bias: Tensor, window_size: int, shift: int) -> Tensor:
    """The C++ kernel, as an operator that compilers need not look into; no gradient."""
    library = native.library()
    assert library is not None
    qkv = qkv.contiguous()
    batch, height, width, channels = qkv.shape
    channels //= 3
    heads, tokens, _ = bias.shape
    padded = -(-tokens // library.mambair_token_multiple()) * library.mambair_token_multiple()
    padded_bias = bias.new_full((heads, tokens, padded), _PADDING)
    torch.mul(bias, math.log2(math.e), out=padded_bias[..., :tokens])
    out = torch.empty(batch, height, width, channels)
    arguments = native.AttentionArguments(
        batch, height, width, channels, heads, window_size, shift, padded,
        native.address(qkv), native.address(padded_bias), native.address(out),
        (channels // heads) ** -0.5,
    )  # fmt: skip
    native.call(library.mambair_attention_forward, arguments)
    return out


@native_attention.register_fake
def _(qkv: Tensor, bias: Tensor, window_size: int, shift: int) -> Tensor:
    return qkv.new_empty((*qkv.shape[:3], qkv.shape[3] // 3))


def _torch_attention(qkv: Tensor, bias: Tensor, window_size: int, shift: int) -> Tensor:
    if shift:
        qkv = qkv.roll((-shift, -shift), dims=(1, 2))
    batch, height, width, channels = qkv.shape
    w, heads = window_size, bias.shape[0]
    rows, columns = height // w, width // w
    # (3, B, rows, columns, heads, w², C/heads)
    q, k, v = (
        qkv.view(batch, rows, w, columns, w, 3, heads, channels // 3 // heads)
        .permute(5, 0, 1, 3, 6, 2, 4, 7)
        .flatten(5, 6)
        .unbind(0)
    )
    bias = bias.to(q.dtype)
    if shift:
        out = torch.empty_like(v)
        for at, last_row, last_column in _window_groups(rows, columns):
            mask = _region_mask(w, shift, last_row, last_column, bias)
            out[at] = _attend(q[at], k[at], v[at], bias + mask)
    else:
        out = _attend(q, k, v, bias)
    # (B, rows, columns, heads, w, w, C/heads) -> (B, H, W, C)
    out = out.unflatten(4, (w, w)).permute(0, 1, 4, 2, 5, 3, 6)
    out = out.reshape(batch, height, width, -1)
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
    return different.to(like.dtype) * BETWEEN_REGIONS


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention over ``(B, rows, columns, heads, w², C/heads)``."""
    shape = q.shape
    q, k, v = (x.flatten(0, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0)).view(shape)
