"""A whole block of MambaIRv2, forward and backward, in C++ kernels for CPUs.

Layer by layer, a block passes its map through memory some thirty times, and twice as often in the
backward pass. The kernels sweep over it six times (``native/block.h``), backwards seven times
(``native/block_backward.h``), each time taking a window, or a part of a row, through everything
that does not need another one's results, while it is in cache.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from basicsr_mambair.ops import native

# In the order of BlockParameter in native/block.h; names are those of the block's state dict.
PARAMETERS = (
    "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "norm3.weight", "norm3.bias",
    "norm4.weight", "norm4.bias", "scale1", "scale2", "wqkv.weight", "wqkv.bias",
    "win_mhsa.relative_position_bias_table", "win_mhsa.proj.weight", "win_mhsa.proj.bias",
    "assm.in_proj.0.weight", "assm.in_proj.0.bias", "assm.CPE.0.weight", "assm.CPE.0.bias",
    "assm.selectiveScan.x_proj_weight", "assm.selectiveScan.dt_projs_weight",
    "assm.selectiveScan.dt_projs_bias", "assm.selectiveScan.A_logs", "assm.selectiveScan.Ds",
    "assm.out_norm.weight", "assm.out_norm.bias", "assm.out_proj.weight", "assm.out_proj.bias",
    "embeddingA.weight", "assm.embeddingB.weight",
    "assm.route.0.weight", "assm.route.0.bias", "assm.route.2.weight", "assm.route.2.bias",
)  # fmt: skip
# Of one FFN: fc1, fc2, the depthwise convolution, and the norm of the gate, if there is one.
FFN_PARAMETERS = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "conv.weight", "conv.bias")
GATE_PARAMETERS = ("gate.weight", "gate.bias")

PARAMETERS_IN_ALL = len(PARAMETERS) + 2 * len(FFN_PARAMETERS + GATE_PARAMETERS)

_SLACK = 16  # floats that the kernel may read past the end of a map of hidden channels
_BACKWARD_PARTS = 8  # of the map, into which the backward pass is cut

# What passes from sweep to sweep, by its name in BlockArguments; the backward pass wants it again.
_MAPS = ("part1", "half", "part2", "ffn1", "ffn2", "inner", "ordered", "scanned", "projected")
_KEPT = (*_MAPS, "indices", "qkv", "attended", "log_sums", "states")


def can_run(x: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Whether the kernels are there and take these tensors: float32, on a CPU."""
    if not native.AVAILABLE or torch.is_autocast_enabled("cpu"):
        return False
    return all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()
        for tensor in (x.detach(), *parameters)
    )


class _Sizes:
    """Sizes of a block, from the shapes of its parameters."""

    def __init__(
        self, x: Tensor, parameters: Sequence[Tensor], heads: int, window_size: int
    ) -> None:
        named = dict(zip(PARAMETERS, parameters, strict=False))
        ffn = parameters[len(PARAMETERS) :]
        self.batch, self.height, self.width, self.channels = x.shape
        self.heads, self.window = heads, window_size
        self.hidden, self.d_state = named["assm.selectiveScan.A_logs"].shape
        self.classes, self.inner_rank = named["assm.embeddingB.weight"].shape
        self.rank = named["assm.selectiveScan.dt_projs_weight"].shape[2]
        self.route_hidden = named["assm.route.0.weight"].shape[0]
        self.kernel = ffn[FFN_PARAMETERS.index("conv.weight")].shape[2]
        self.gated = int(ffn[len(FFN_PARAMETERS)].numel() > 0)
        self.tokens = self.batch * self.height * self.width
        self.lanes, self.rows, self.chunk = native.LANES, native.MAX_ROWS, native.CHUNK
        self.blocks = -(-self.hidden // self.lanes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of what ``_KEPT`` names, and of the gradients that have no shape of their own."""
        if name in ("part1", "half", "part2", "grad_part", "grad_half"):
            return (self.tokens, self.channels)
        if name == "projected":
            return (self.tokens, self.rank + 2 * self.d_state)
        if name == "indices":
            return (3, self.tokens)
        area = self.window**2
        windows = self.batch * (self.height // self.window) * (self.width // self.window)
        if name == "log_sums":
            return (windows, area, self.heads)
        if name in ("qkv", "attended"):
            channels = self.channels * (3 if name == "qkv" else 1)
            return (windows, _whole(area, self.rows), _whole(channels, self.lanes))
        per_block = (self.batch, self.blocks)
        if name == "states":
            chunks = -(-self.height * self.width // self.chunk)
            return (*per_block, chunks, self.d_state, self.lanes)
        if name in ("grad_B", "grad_C"):
            return (*per_block, self.height * self.width, self.d_state)
        if name == "grad_A":
            return (*per_block, self.d_state, self.lanes)
        if name in ("grad_D", "grad_bias"):
            return (*per_block, self.lanes)
        return (self.tokens * self.hidden + _SLACK,)  # maps of hidden channels


def _whole(count: int, part: int) -> int:
    return -(-count // part) * part


@torch.library.custom_op(
    "mambair::attentive_block",
    mutates_args=(),
    schema="(Tensor x, Tensor[] parameters, int heads, int window_size, int shift, float eps, "
    "Tensor? keys, Tensor? noise, bool soft, bool keep) -> "
    f"({', '.join(['Tensor'] * (1 + len(_KEPT)))})",
)
def attentive_block(
    x: Tensor,
    parameters: list[Tensor],
    heads: int,
    window_size: int,
    shift: int,
    eps: float,
    keys: Tensor | None,
    noise: Tensor | None,
    soft: bool,
    keep: bool,
) -> tuple[Tensor, ...]:
    """Window attention, FFN, attentive state space, FFN, each with its norms and residuals.

    Args:
        x: ``(B, H, W, C)``; H and W multiples of the window.
        parameters: ``PARAMETERS``, then ``FFN_PARAMETERS`` and ``GATE_PARAMETERS`` of both FFNs;
            without elements: biases that are missing, and gates of FFNs that have none.
        heads: attention heads.
        window_size: side w.
        shift: pixels by which the windows are moved.
        eps: of every norm.
        keys: of the routing's noise (:mod:`~basicsr_mambair.ops.gumbel`), int32 ``(B,)``, or
            ``None``.
        noise: the routing's noise itself, ``(B, H·W, T)``, or ``None``.
        soft: whether the choice of a class has a gradient, that of the softmax (straight-through).
        keep: whether the backward pass will be wanted.

    Returns:
        The result ``(B, H, W, C)``, and with ``keep`` what the backward pass needs, else empty.
    """
    sizes = _Sizes(x, parameters, heads, window_size)
    x = x.contiguous()
    y = torch.empty(x.shape)
    if keep:
        kept = dict(_empty(sizes, x, *_KEPT))
        used = kept
    else:
        kept = {name: x.new_empty(0) for name in _KEPT}
        distinct = dict(_empty(sizes, x, "part1", "half", "ffn1", "inner", "ordered", "projected"))
        used = {
            **distinct, "part2": distinct["part1"], "ffn2": distinct["ffn1"],
            "scanned": distinct["inner"], "indices": _empty(sizes, x, "indices")[0][1],
        }  # fmt: skip
    arguments, _alive = _arguments(sizes, x, parameters, shift, eps, keys, noise, used)
    arguments.y = native.address(y)
    native.run("mambair_block", arguments)
    return (y, *kept.values())


@attentive_block.register_fake
def _(
    x: Tensor, parameters: list[Tensor], heads: int, window_size: int, *others: Any
) -> tuple[Tensor, ...]:
    keep = others[-1]
    sizes = _Sizes(x, parameters, heads, window_size)
    kept = [k for _, k in _empty(sizes, x, *_KEPT)] if keep else [x.new_empty(0) for _ in _KEPT]
    return (x.new_empty(x.shape), *kept)


def _empty(sizes: _Sizes, x: Tensor, *names: str) -> list[tuple[str, Tensor]]:
    found = []
    for name in names:
        dtype = torch.int32 if name == "indices" else torch.float32
        tensor = x.new_empty(sizes.shape(name), dtype=dtype)
        if tensor.ndim == 1:
            tensor[-_SLACK:].zero_()  # the same from call to call
        found.append((name, tensor))
    return found


def _arguments(
    sizes: _Sizes,
    x: Tensor,
    parameters: Sequence[Tensor],
    shift: int,
    eps: float,
    keys: Tensor | None,
    noise: Tensor | None,
    maps: dict[str, Tensor],
    **others: Any,
) -> tuple[native.BlockArguments, list[Any]]:
    """Arguments common to both passes, and what must outlive the call."""
    library = native.library()
    assert library is not None
    pointers = _pointers(parameters)
    noise = None if noise is None else noise.contiguous()
    arguments = native.BlockArguments(
        shift=shift, eps=eps, x=native.address(x), parameters=ctypes.addressof(pointers),
        keys=native.address(keys), noise=native.address(noise), **others,
    )  # fmt: skip
    for name in native.BLOCK_SIZES:
        setattr(arguments, name, getattr(sizes, name))
    for name, tensor in maps.items():
        if name == "indices":
            arguments.chosen, arguments.order, arguments.inverse = map(native.address, tensor)
        else:
            setattr(arguments, name, native.address(tensor))
    packed = torch.empty(library.mambair_block_floats(ctypes.addressof(arguments)))
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
    "float eps, Tensor? keys, Tensor? noise, bool soft, Tensor[] kept) -> (Tensor, Tensor[])",
)
def attentive_block_backward(
    grad_y: Tensor,
    x: Tensor,
    parameters: list[Tensor],
    heads: int,
    window_size: int,
    shift: int,
    eps: float,
    keys: Tensor | None,
    noise: Tensor | None,
    soft: bool,
    kept: list[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of ``x`` and of the parameters."""
    library = native.library()
    assert library is not None
    sizes = _Sizes(x, parameters, heads, window_size)
    x, grad_y = x.contiguous(), grad_y.contiguous()
    grad_x = torch.empty(x.shape)
    grads = [torch.empty(parameter.shape) for parameter in parameters]
    grad_pointers = _pointers(grads)
    room = dict(
        _empty(
            sizes, x, "grad_part", "grad_half", "grad_ffn", "grad_conv", "grad_inner",
            "grad_scanned", "grad_ordered", "grad_delta", "grad_B", "grad_C", "grad_A", "grad_D",
            "grad_bias",
        )
    )  # fmt: skip
    maps = {**dict(zip(_KEPT, kept, strict=True)), **room}
    arguments, _alive = _arguments(
        sizes, x, parameters, shift, eps, keys, noise, maps,
        # A number of its own, not that of the threads: the sums must not depend on them.
        parts=_BACKWARD_PARTS, soft=int(soft), grad_y=native.address(grad_y),
        grad_x=native.address(grad_x), grad_parameters=ctypes.addressof(grad_pointers),
    )  # fmt: skip
    floats = library.mambair_block_sums_floats(ctypes.addressof(arguments))
    sums = torch.empty(_BACKWARD_PARTS, floats)
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


def _autograd_backward(ctx: Any, grad_y: Tensor, *_: Any) -> tuple[Any, ...]:
    x, *rest = ctx.saved_tensors
    parameters, rest = rest[:PARAMETERS_IN_ALL], rest[PARAMETERS_IN_ALL:]
    kept, drawn = rest[: len(_KEPT)], iter(rest[len(_KEPT) :])
    keys, noise = (next(drawn) if there else None for there in ctx.present)
    grad_x, grads = attentive_block_backward(
        grad_y, x, parameters, *ctx.plain, keys, noise, ctx.soft, kept
    )
    return grad_x, grads, *[None] * 8


attentive_block.register_autograd(_autograd_backward, setup_context=_setup_context)
