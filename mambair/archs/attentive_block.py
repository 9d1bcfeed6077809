"""A whole block of MambaIRv2, forward and backward, in C++ kernels for CPUs.

Layer by layer, a block passes its map through memory some thirty times, and twice as often in the
backward pass. The kernels sweep over it six times (``native/block.h``), backwards seven times
(``native/block_backward.h``), each time taking a window, or a stretch of a row, through everything
that does not need another one's results, while it is in cache.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mambair.ops import native
from mambair.ops.native.block_shapes import PARAMETERS, SLACK, BlockSizes, misfit

EPS = 1e-5  # of every norm
_SHARES = 16  # of the map, which the backward pass sums one by one

# Tensors that pass from sweep to sweep, by their names in BlockArguments; the backward pass reads
# them again.
_KEPT = (
    "after_attention", "after_ffn1", "after_scan", "hidden1", "hidden2", "inner", "ordered",
    "scanned", "projected", "indices", "qkv", "attended", "log_sums", "states",
)  # fmt: skip
# The same where no backward pass follows: later sweeps reuse the others' memory.
_DISTINCT = ("after_attention", "after_ffn1", "hidden1", "inner", "ordered", "projected")


def takes(x: Tensor) -> bool:
    """Returns whether the kernels were built and accept such a tensor: float32, on a CPU."""
    if not native.AVAILABLE or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    return not torch.is_autocast_enabled("cpu")


@torch.library.custom_op(
    "mambair::attentive_block",
    mutates_args=(),
    schema="(Tensor x, Tensor[] parameters, int heads, int window_size, int shift, "
    "Tensor? keys, Tensor? noise, bool soft, bool keep) -> "
    f"({', '.join(['Tensor'] * (1 + len(_KEPT)))})",
    device_types="cpu",
)
def attentive_block(
    x: Tensor,
    parameters: list[Tensor],
    heads: int,
    window_size: int,
    shift: int,
    keys: Tensor | None,
    noise: Tensor | None,
    soft: bool,
    keep: bool,
) -> tuple[Tensor, ...]:
    """Window attention, FFN, attentive state space, FFN, each with its norms and residuals.

    Args:
        x: ``(B, H, W, C)``; H and W multiples of the window.
        parameters: in the order of ``ops/native/block_parameters.inc``, then of
            ``ffn_parameters.inc`` for each FFN. The bias of queries, keys and values, and the norm
            of a gate, have no elements where the block has none.
        heads: attention heads.
        window_size: side w.
        shift: pixels by which the windows are moved.
        keys: keys of the routing's noise (:mod:`~mambair.ops.gumbel`), int32 ``(B,)``, or
            ``None``.
        noise: the routing's noise itself, ``(B, H·W, T)``, or ``None``.
        soft: whether the choice of a class has a gradient, that of the softmax (straight-through).
        keep: whether a backward pass will follow.

    Returns:
        The result ``(B, H, W, C)``, and with ``keep`` what the backward pass needs (else empty).

    Raises:
        ValueError: sizes that do not fit together.
    """
    wrong = misfit(x, parameters, heads, window_size)
    if wrong is not None:
        raise ValueError(f"attentive_block: cannot take {wrong}")
    sizes = BlockSizes(x, parameters, heads, window_size)
    x = x.contiguous()
    y = native.empty(*x.shape)
    if keep:
        kept = dict(_empty(sizes, x, *_KEPT))
        used = kept
    else:
        kept = {name: x.new_empty(0) for name in _KEPT}
        distinct = dict(_empty(sizes, x, *_DISTINCT))
        used = {
            **distinct, "after_scan": distinct["after_attention"], "hidden2": distinct["hidden1"],
            "scanned": distinct["inner"], "indices": _empty(sizes, x, "indices")[0][1],
        }  # fmt: skip
    arguments, _alive = _arguments(sizes, x, parameters, shift, keys, noise, used)
    arguments.y = native.address(y)
    native.run("mambair_block", arguments)
    return (y, *kept.values())


@attentive_block.register_fake
def _(
    x: Tensor, parameters: list[Tensor], heads: int, window_size: int, *others: Any
) -> tuple[Tensor, ...]:
    keep = others[-1]
    sizes = BlockSizes(x, parameters, heads, window_size)
    kept = [k for _, k in _empty(sizes, x, *_KEPT)] if keep else [x.new_empty(0) for _ in _KEPT]
    return (x.new_empty(x.shape), *kept)


def _empty(sizes: BlockSizes, x: Tensor, *names: str) -> list[tuple[str, Tensor]]:
    found = []
    for name in names:
        dtype = torch.int32 if name == "indices" else torch.float32
        tensor = x.new_empty(sizes.of(name), dtype=dtype)
        if tensor.ndim == 1:
            tensor[-SLACK:].zero_()  # the same from call to call
        found.append((name, tensor))
    return found


def _arguments(
    sizes: BlockSizes,
    x: Tensor,
    parameters: Sequence[Tensor],
    shift: int,
    keys: Tensor | None,
    noise: Tensor | None,
    maps: dict[str, Tensor],
    **others: Any,
) -> tuple[native.Arguments, list[Any]]:
    """Arguments common to both passes, and what must outlive the call."""
    library = native.required_library()
    pointers = _pointers(parameters)
    noise = None if noise is None else noise.contiguous()
    arguments = native.BlockArguments(
        **{name: getattr(sizes, name) for name in native.BlockArguments.sizes},
        shift=shift, eps=EPS, x=native.address(x), parameters=ctypes.addressof(pointers),
        keys=native.address(keys), noise=native.address(noise), **others,
    )  # fmt: skip
    for name, tensor in maps.items():
        if name == "indices":
            arguments.chosen, arguments.order, arguments.inverse = map(native.address, tensor)
        else:
            setattr(arguments, name, native.address(tensor))
    packed = native.empty(library.mambair_block_floats(ctypes.addressof(arguments)))
    arguments.packed = native.address(packed)
    return arguments, [pointers, noise, packed]


def _pointers(tensors: Sequence[Tensor]) -> Any:
    """An array of addresses, null for tensors without elements."""
    addresses = [tensor.data_ptr() if tensor.numel() else None for tensor in tensors]
    return (ctypes.c_void_p * len(addresses))(*addresses)


@torch.library.custom_op(
    "mambair::attentive_block_backward",
    mutates_args=(),
    schema="(Tensor grad_y, Tensor x, Tensor[] parameters, int heads, int window_size, int shift, "
    "Tensor? keys, Tensor? noise, bool soft, Tensor[] kept) -> (Tensor, Tensor[])",
    device_types="cpu",
)
def attentive_block_backward(
    grad_y: Tensor,
    x: Tensor,
    parameters: list[Tensor],
    heads: int,
    window_size: int,
    shift: int,
    keys: Tensor | None,
    noise: Tensor | None,
    soft: bool,
    kept: list[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of ``x`` and of the parameters."""
    library = native.required_library()
    sizes = BlockSizes(x, parameters, heads, window_size)
    x, grad_y = x.contiguous(), grad_y.contiguous()
    grad_x = native.empty(*x.shape)
    grads = [native.empty(*parameter.shape) for parameter in parameters]
    grad_pointers = _pointers(grads)
    buffers = dict(
        _empty(
            sizes, x, "grad_after_attention", "grad_after_ffn1", "grad_hidden", "grad_conv",
            "grad_inner", "grad_scanned", "grad_ordered", "grad_delta", "grad_B", "grad_C",
            "grad_A", "grad_D", "grad_bias",
        )
    )  # fmt: skip
    maps = {**dict(zip(_KEPT, kept, strict=True)), **buffers}
    arguments, _alive = _arguments(
        sizes, x, parameters, shift, keys, noise, maps,
        # A number of its own, not that of the threads: the sums must not depend on them.
        shares=_SHARES, soft=int(soft), grad_y=native.address(grad_y),
        grad_x=native.address(grad_x), grad_parameters=ctypes.addressof(grad_pointers),
    )  # fmt: skip
    floats = library.mambair_block_sums_floats(ctypes.addressof(arguments))
    sums = native.empty(_SHARES, floats)
    arguments.sums = native.address(sums)
    native.run("mambair_block_backward", arguments)
    return grad_x, grads


@attentive_block_backward.register_fake
def _(grad_y: Tensor, x: Tensor, parameters: list[Tensor], *_: Any) -> tuple[Tensor, list[Tensor]]:
    return x.new_empty(x.shape), [p.new_empty(p.shape) for p in parameters]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, parameters, *ctx.plain, keys, noise, ctx.soft, _keep = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)  # no zeros for what has no gradient
    ctx.present = keys is not None, noise is not None
    drawn = [t for t in (keys, noise) if t is not None]
    ctx.save_for_backward(x, *parameters, *output[1:], *drawn)


def _autograd_backward(ctx: Any, grad_y: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad_y is None:
        return None, [None] * len(PARAMETERS), *[None] * 7
    x, *rest = ctx.saved_tensors
    parameters, rest = rest[: len(PARAMETERS)], rest[len(PARAMETERS) :]
    kept, drawn = rest[: len(_KEPT)], iter(rest[len(_KEPT) :])
    keys, noise = (next(drawn) if there else None for there in ctx.present)
    grad_x, grads = attentive_block_backward(
        grad_y, x, parameters, *ctx.plain, keys, noise, ctx.soft, kept
    )
    if not ctx.soft:  # the choice has no gradient
        for number, name in enumerate(PARAMETERS):
            grads[number] = None if name.startswith("ROUTE") else grads[number]
    return grad_x, grads, *[None] * 7


attentive_block.register_autograd(_autograd_backward, setup_context=_setup_context)
