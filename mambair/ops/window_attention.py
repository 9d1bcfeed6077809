"""Attention within shifted windows of a map (Swin Transformer, ICCV 2021, section 3.2).

:func:`window_attention` has two implementations of the same sum: PyTorch's fused attention over
windows cut out of the map, which runs anywhere, and a C++ kernel for CPUs, forward and backward,
which reads the windows where they are and keeps one window's scores in cache.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from mambair.ops import native

BETWEEN_REGIONS = -100.0  # added to the score of two tokens that only the roll brought together
_SHARES = 32  # of the windows, at most, which the C++ backward pass sums one by one


def window_attention(
    qkv: Tensor, table: Tensor, index: Tensor, window_size: int, shift: int
) -> Tensor:
    """softmax(q kᵀ (C/heads)^−½ + table[index] + mask) v within every window of a rolled map.

    Args:
        qkv: ``(B, H, W, 3C)``, queries, keys and values, each heads × C/heads; H and W multiples of
            the window.
        table: biases by relative position, ``((2w − 1)², heads)``.
        index: the row of ``table`` for every pair of tokens, of
            :func:`relative_position_index`, int64 ``(w², w²)``.
        window_size: side w.
        shift: the map is rolled by ``-shift`` in both axes before it is cut into windows, and back
            afterwards; pixels from opposite borders do not see each other (−100).

    Returns:
        ``(B, H, W, C)``.

    Raises:
        ValueError: H or W is not a multiple of the window.
    """
    if qkv.shape[1] % window_size or qkv.shape[2] % window_size:
        size = f"{qkv.shape[1]}×{qkv.shape[2]}"
        raise ValueError(f"window_attention: {size} is not a multiple of the window, {window_size}")
    if _native_can_run(qkv):
        keep = torch.is_grad_enabled() and (qkv.requires_grad or table.requires_grad)
        out: Tensor = native_attention(qkv, table, window_size, shift, keep)[0]
        return out
    bias = table[index.flatten()].view(*index.shape, -1).permute(2, 0, 1)
    return _torch_attention(qkv, bias.contiguous(), window_size, shift)


def relative_position_index(window_size: int) -> Tensor:
    """Index into the table of relative positions for every pair of tokens of a window.

    Returns:
        int64 ``(w², w²)`` with values in ``[0, (2w − 1)²)``.
    """
    y, x = torch.meshgrid(torch.arange(window_size), torch.arange(window_size), indexing="ij")
    y, x = y.flatten(), x.flatten()
    span = 2 * window_size - 1
    dy = y[:, None] - y[None, :] + window_size - 1
    dx = x[:, None] - x[None, :] + window_size - 1
    return dy * span + dx


def _native_can_run(qkv: Tensor) -> bool:
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    return native.AVAILABLE and qkv.device.type == "cpu" and qkv.dtype in dtypes


@torch.library.custom_op(
    "mambair::window_attention",
    mutates_args=(),
    schema="(Tensor qkv, Tensor table, int window_size, int shift, bool keep) -> (Tensor, Tensor)",
    device_types="cpu",
)
def native_attention(
    qkv: Tensor, table: Tensor, window_size: int, shift: int, keep: bool
) -> tuple[Tensor, Tensor]:
    """The C++ kernel, as an operator that compilers need not look into; float32 inside.

    Returns:
        The result, and with ``keep`` the logarithms of the softmax's denominators
        ``(B, H, W, heads)``, from which the backward pass recomputes the probabilities.
    """
    arguments, _kept = _prepare(qkv, table, window_size, shift)
    *size, channels = qkv.shape
    out = native.empty(*size, channels // 3)
    log_sums = native.empty(*size, table.shape[1]) if keep else native.empty(0)
    arguments.out = native.address(out)
    arguments.log_sums = native.address(log_sums) if keep else None
    native.run("mambair_attention_forward", arguments)
    return out.to(qkv.dtype), log_sums


@native_attention.register_fake
def _(
    qkv: Tensor, table: Tensor, window_size: int, shift: int, keep: bool
) -> tuple[Tensor, Tensor]:
    *size, channels = qkv.shape
    log_sums = qkv.new_empty((*size, table.shape[1]) if keep else (0,), dtype=torch.float32)
    return qkv.new_empty((*size, channels // 3)), log_sums


@torch.library.custom_op(
    "mambair::window_attention_backward",
    mutates_args=(),
    schema="(Tensor grad_out, Tensor out, Tensor log_sums, Tensor qkv, Tensor table, "
    "int window_size, int shift) -> (Tensor, Tensor)",
    device_types="cpu",
)
def native_attention_backward(
    grad_out: Tensor,
    out: Tensor,
    log_sums: Tensor,
    qkv: Tensor,
    table: Tensor,
    window_size: int,
    shift: int,
) -> tuple[Tensor, Tensor]:
    """Gradients of ``qkv`` and ``table``."""
    arguments, tensors = _prepare(qkv, table, window_size, shift)
    entries, heads = table.shape
    windows = qkv.shape[0] * (qkv.shape[1] // window_size) * (qkv.shape[2] // window_size)
    # A number of its own, not that of the threads: the sum must not depend on them.
    arguments.shares = min(windows, _SHARES)
    grad_qkv = native.empty(*qkv.shape)
    grad_table = native.empty(arguments.shares, heads, entries)
    tensors += [grad_out.float().contiguous(), out.float().contiguous(), log_sums]
    arguments.grad_out, arguments.out, arguments.log_sums = map(native.address, tensors[-3:])
    arguments.grad_qkv, arguments.grad_table = map(native.address, (grad_qkv, grad_table))
    native.run("mambair_attention_backward", arguments)
    return grad_qkv.to(qkv.dtype), grad_table.sum(0).t().to(table.dtype).contiguous()


@native_attention_backward.register_fake
def _(
    grad_out: Tensor, out: Tensor, log_sums: Tensor, qkv: Tensor, table: Tensor, *_: int
) -> tuple[Tensor, Tensor]:
    return qkv.new_empty(qkv.shape), table.new_empty(table.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    qkv, table, ctx.window_size, ctx.shift, _ = inputs
    ctx.save_for_backward(*output, qkv, table)
    ctx.mark_non_differentiable(output[1])


def _autograd_backward(ctx: Any, grad_out: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    gradients = native_attention_backward(grad_out, *ctx.saved_tensors, ctx.window_size, ctx.shift)
    return (*gradients, None, None, None)


native_attention.register_autograd(_autograd_backward, setup_context=_setup_context)


def _prepare(
    qkv: Tensor, table: Tensor, window_size: int, shift: int
) -> tuple[native.Arguments, list[Tensor]]:
    """Arguments common to both passes, and the tensors that must outlive the call."""
    tensors = [x.detach().float().contiguous() for x in (qkv, table)]
    batch, height, width, channels = qkv.shape
    channels //= 3
    heads = table.shape[1]
    arguments = native.AttentionArguments(
        batch=batch, height=height, width=width, channels=channels, heads=heads,
        window=window_size, shift=shift, qkv=native.address(tensors[0]),
        table=native.address(tensors[1]), scale=(channels // heads) ** -0.5,
    )  # fmt: skip
    return arguments, tensors


def _torch_attention(qkv: Tensor, bias: Tensor, window_size: int, shift: int) -> Tensor:
    if shift:
        qkv = qkv.roll((-shift, -shift), dims=(1, 2))
    w, heads = window_size, bias.shape[0]
    rows, columns = qkv.shape[1] // w, qkv.shape[2] // w
    q, k, v = rearrange(
        qkv, "b (rows y) (columns x) (three heads c) -> three b rows columns heads (y x) c",
        y=w, x=w, three=3, heads=heads,
    ).unbind(0)  # fmt: skip
    bias = bias.to(q.dtype)
    if shift:
        out = torch.empty_like(v)
        for at, last_row, last_column in _window_groups(rows, columns):
            mask = _region_mask(w, shift, last_row, last_column, bias)
            out[at] = _attend(q[at], k[at], v[at], bias + mask)
    else:
        out = _attend(q, k, v, bias)
    out = rearrange(
        out, "b rows columns heads (y x) c -> b (rows y) (columns x) (heads c)", y=w, x=w
    )
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
    ``shift`` rows or columns come from the opposite border of the map.
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
