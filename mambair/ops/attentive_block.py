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

from mambair.ops import native

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

EPS = 1e-5  # of every norm
_SLACK = native.LANES  # floats that the kernel may read past the end of a map of hidden channels
_BACKWARD_PARTS = 16  # of the map, into which the backward pass is cut

# What passes from sweep to sweep, by its name in BlockArguments; the backward pass wants it again.
_MAPS = ("part1", "half", "part2", "ffn1", "ffn2", "inner", "ordered", "scanned", "projected")
_KEPT = (*_MAPS, "indices", "qkv", "attended", "log_sums", "states")


def takes(x: Tensor) -> bool:
    """Whether the kernels are there and take such a tensor: float32, on a CPU."""
    if not native.AVAILABLE or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    return not torch.is_autocast_enabled("cpu")


def misfit(x: Tensor, parameters: Sequence[Tensor], heads: int, window_size: int) -> str | None:
    """What keeps the kernels from taking these tensors; ``None``: nothing.

    Args:
        x, parameters, heads, window_size: of :func:`attentive_block`.
    """
    sizes = _Sizes(x, parameters, heads, window_size)
    if sizes.height % window_size or sizes.width % window_size or sizes.channels % heads:
        return f"{sizes.height}×{sizes.width}×{sizes.channels} by {heads} heads of {window_size}²"
    if sizes.kernel > native.MAX_KERNEL or sizes.d_state > native.MAX_STATES:
        return f"a kernel of {sizes.kernel} or {sizes.d_state} states"
    for number, (tensor, shape) in enumerate(zip(parameters, sizes.of_parameters(), strict=True)):
        optional = number == PARAMETERS.index("wqkv.bias")
        if tuple(tensor.shape) != shape and not (optional and tensor.numel() == 0):
            return f"parameter {number}, which is {tuple(tensor.shape)} and not {shape}"
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            return f"parameter {number}, {tensor.dtype} on {tensor.device}"
        if not tensor.is_contiguous():
            return f"parameter {number}, which is not contiguous"
    return None


class _Sizes:
    """Sizes of a block, from the shapes of its parameters."""

    def __init__(
        self, x: Tensor, parameters: Sequence[Tensor], heads: int, window_size: int
    ) -> None:
        if not native.LANES:  # a plain number, which compilers can trace
            native.required_library()
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

    def of_parameters(self) -> list[tuple[int, ...]]:
        """Shapes of the parameters, in their order."""
        c, e, n, k = self.channels, self.hidden, self.d_state, self.kernel
        route, classes = self.route_hidden, self.classes
        shapes: list[tuple[int, ...]] = [
            *[(c,)] * 10, (3 * c, c), (3 * c,), ((2 * self.window - 1) ** 2, self.heads),
            (c, c), (c,), (e, c, 1, 1), (e,), (e, 1, 3, 3), (e,), (1, self.rank + 2 * n, e),
            (1, e, self.rank), (1, e), (e, n), (e,), (e,), (e,), (c, e), (c,),
            (self.inner_rank, n), (classes, self.inner_rank),
            (route, c), (route,), (classes, route), (classes,),
        ]  # fmt: skip
        inner = e // 2 if self.gated else e
        gate = (inner,) if self.gated else (0,)
        ffn = [(e, c), (e,), (c, inner), (c,), (inner, 1, k, k), (inner,), gate, gate]
        return [*shapes, *ffn, *ffn]

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
        parameters: ``PARAMETERS``, then ``FFN_PARAMETERS`` and ``GATE_PARAMETERS`` of both FFNs;
            without elements: biases that are missing, and gates of FFNs that have none.
        heads: attention heads.
        window_size: side w.
        shift: pixels by which the windows are moved.
        keys: of the routing's noise (:mod:`~mambair.ops.gumbel`), int32 ``(B,)``, or
            ``None``.
        noise: the routing's noise itself, ``(B, H·W, T)``, or ``None``.
        soft: whether the choice of a class has a gradient, that of the softmax (straight-through).
        keep: whether the backward pass will be wanted.

    Returns:
        The result ``(B, H, W, C)``, and with ``keep`` what the backward pass needs, else empty.

    Raises:
        ValueError: sizes that do not fit together.
    """
    wrong = misfit(x, parameters, heads, window_size)
    if wrong is not None:
        raise ValueError(f"attentive_block: cannot take {wrong}")
    sizes = _Sizes(x, parameters, heads, window_size)
    x = x.contiguous()
    y = native.empty(*x.shape)
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
    arguments, _alive = _arguments(sizes, x, parameters, shift, keys, noise, used)
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
    keys: Tensor | None,
    noise: Tensor | None,
    maps: dict[str, Tensor],
    **others: Any,
) -> tuple[native.BlockArguments, list[Any]]:
    """Arguments common to both passes, and what must outlive the call."""
    library = native.required_library()
    pointers = _pointers(parameters)
    noise = None if noise is None else noise.contiguous()
    arguments = native.BlockArguments(
        shift=shift, eps=EPS, x=native.address(x), parameters=ctypes.addressof(pointers),
        keys=native.address(keys), noise=native.address(noise), **others,
    )  # fmt: skip
    for name in native.BLOCK_SIZES:
        setattr(arguments, name, getattr(sizes, name))
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
    sizes = _Sizes(x, parameters, heads, window_size)
    x, grad_y = x.contiguous(), grad_y.contiguous()
    grad_x = native.empty(*x.shape)
    grads = [native.empty(*parameter.shape) for parameter in parameters]
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
        sizes, x, parameters, shift, keys, noise, maps,
        # A number of its own, not that of the threads: the sums must not depend on them.
        parts=_BACKWARD_PARTS, soft=int(soft), grad_y=native.address(grad_y),
        grad_x=native.address(grad_x), grad_parameters=ctypes.addressof(grad_pointers),
    )  # fmt: skip
    floats = library.mambair_block_sums_floats(ctypes.addressof(arguments))
    sums = native.empty(_BACKWARD_PARTS, floats)
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
        return None, [None] * PARAMETERS_IN_ALL, *[None] * 7
    x, *rest = ctx.saved_tensors
    parameters, rest = rest[:PARAMETERS_IN_ALL], rest[PARAMETERS_IN_ALL:]
    kept, drawn = rest[: len(_KEPT)], iter(rest[len(_KEPT) :])
    keys, noise = (next(drawn) if there else None for there in ctx.present)
    grad_x, grads = attentive_block_backward(
        grad_y, x, parameters, *ctx.plain, keys, noise, ctx.soft, kept
    )
    if not ctx.soft:  # the choice has no gradient
        for number, name in enumerate(PARAMETERS):
            grads[number] = None if name.startswith("assm.route.") else grads[number]
    return grad_x, grads, *[None] * 7


attentive_block.register_autograd(_autograd_backward, setup_context=_setup_context)
