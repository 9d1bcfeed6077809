"""A linear layer with what stands around it, in one pass over the tokens.

On CPUs a C++ kernel takes a block of tokens through normalisation, product, GELU and residuals
while it is in cache, and again for the gradients, for which only the inputs are kept; everywhere
else PyTorch's operators do the same one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_mambair.ops import native
from basicsr_mambair.ops.routing import Routes

_BACKWARD_PARTS = 16  # of the tokens, into which the C++ backward pass is cut


class Residual(NamedTuple):
    """What is added to a result: ``first``, and ``second · scale`` if there is a second.

    Attributes:
        first: the shape of the result.
        second: the same shape.
        scale: ``(out,)``.
    """

    first: Tensor
    second: Tensor | None = None
    scale: Tensor | None = None


def dense(
    x: Tensor,
    layer: Any,
    *,
    times: Tensor | None = None,
    norm: nn.LayerNorm | None = None,
    gelu: bool = False,
    residual: Residual | None = None,
    routes: Routes | None = None,
) -> Tensor:
    """``gelu(layer(norm(x · times))) + residual``; every part but the layer is optional.

    Args:
        x: ``(…, in)``.
        layer: a linear layer, or a 1×1 convolution, which is one.
        times: multiplied with ``x``, the same shape.
        norm: over the channels.
        gelu: whether the product passes through the (exact) GELU.
        residual: what is added at the end, in the order of the result.
        routes: ``x`` is in their order, and the result is to be in raster order.

    Returns:
        ``(…, out)``.
    """
    if _native_can_run(x, layer, times, norm, residual):
        weight = layer.weight.flatten(1)
        norms = (norm.weight, norm.bias, norm.eps) if norm is not None else (None, None, 0.0)
        added = residual or (None, None, None)
        order = routes.order if routes is not None else None
        y: Tensor = native_dense(
            x, weight, layer.bias, times, *norms, gelu, *added, None, order, False, False
        )[0]
        return y
    if times is not None:
        x = x * times
    if norm is not None:
        x = norm(x)
    if isinstance(layer, nn.Conv2d):
        y = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    else:
        y = layer(x)
    if gelu:
        y = F.gelu(y)
    if routes is not None:
        y = y.flatten(0, -2).index_select(0, routes.inverse).view_as(y)
    if residual is not None:
        y = y + residual.first.view_as(y)
        if residual.second is not None:
            assert residual.scale is not None
            y = residual.second * residual.scale + y
    return y


def gate_and_project(
    x: Tensor, gate: Tensor, routes: Routes, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens gated and brought into the order of their routes, and their projection.

    Args:
        x: ``(B, L, in)``, in raster order.
        gate: the same shape; its sigmoid is multiplied with ``x``.
        routes: of the tokens.
        weight: ``(out, in)``.

    Returns:
        ``u = (x · sigmoid(gate))[order]`` ``(B, L, in)``, and ``u weightᵀ`` ``(B, L, out)``.
    """
    if _tensors_can_run(x, gate, weight):
        y, u = native_dense(
            x, weight, None, gate, None, None, 0.0, False, None, None, None,
            routes.order, None, True, True,
        )  # fmt: skip
        return u, y
    u = (x * torch.sigmoid(gate)).flatten(0, 1).index_select(0, routes.order).view_as(x)
    return u, F.linear(u, weight)


def can_fuse(x: Tensor, layer: Any, norm: nn.LayerNorm) -> bool:
    """Whether :func:`dense` would take the normalisation along, at no cost."""
    return _native_can_run(x, layer, None, norm, None)


def _native_can_run(
    x: Tensor,
    layer: Any,
    times: Tensor | None,
    norm: nn.LayerNorm | None,
    residual: Residual | None,
) -> bool:
    """On a CPU, in float32, and where nobody has put something in between."""
    if type(layer) not in (nn.Linear, nn.Conv2d) or has_hooks(layer):
        return False
    if norm is not None and (norm.weight is None or norm.bias is None or has_hooks(norm)):
        return False
    norm_weight = norm.weight if norm is not None else None
    return _tensors_can_run(x, layer.weight, times, norm_weight, *(residual or ()))


def _tensors_can_run(*tensors: Tensor | None) -> bool:
    if not native.AVAILABLE or torch.is_autocast_enabled("cpu"):
        return False
    return all(
        tensor is None or (tensor.device.type == "cpu" and tensor.dtype == torch.float32)
        for tensor in tensors
    )


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody wants to see what passes through a module."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


@torch.library.custom_op(
    "mambair::dense",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor? bias, Tensor? times, Tensor? norm_weight, "
    "Tensor? norm_bias, float eps, bool gelu, Tensor? residual, Tensor? second, Tensor? scale, "
    "Tensor? gather, Tensor? scatter, bool sigmoid, bool keep) -> (Tensor, Tensor)",
)
def native_dense(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    times: Tensor | None,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    eps: float,
    gelu: bool,
    residual: Tensor | None,
    second: Tensor | None,
    scale: Tensor | None,
    gather: Tensor | None,
    scatter: Tensor | None,
    sigmoid: bool,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """The C++ kernel. The second result is ``x · times`` with ``keep``, else empty."""
    parts = DenseInputs(
        x, weight, bias, times, norm_weight, norm_bias, eps, gelu, residual, second, scale,
        gather, scatter, sigmoid,
    )  # fmt: skip
    arguments, _kept = _arguments(parts)
    y = torch.empty(*x.shape[:-1], weight.shape[0])
    kept = torch.empty(x.shape if keep else (0,))
    arguments.y = native.address(y)
    arguments.kept = native.address(kept) if keep else None
    native.run("mambair_dense", arguments)
    return y, kept


@native_dense.register_fake
def _(x: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    keep = others[-1]
    return x.new_empty((*x.shape[:-1], weight.shape[0])), x.new_empty(x.shape if keep else (0,))


class DenseInputs(NamedTuple):
    """What :func:`native_dense` takes, but for ``keep``."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    times: Tensor | None
    norm_weight: Tensor | None
    norm_bias: Tensor | None
    eps: float
    gelu: bool
    residual: Tensor | None
    second: Tensor | None
    scale: Tensor | None
    gather: Tensor | None
    scatter: Tensor | None
    sigmoid: bool


# Of the inputs, those that have a gradient of their own (the residual's is that of the result).
_DIFFERENTIATED = (
    "x", "weight", "bias", "times", "norm_weight", "norm_bias", "second", "scale",
)  # fmt: skip


def _arguments(inputs: DenseInputs) -> tuple[native.DenseArguments, list[Tensor | None]]:
    """Arguments common to both passes, and the tensors that must outlive the call."""
    x, times = _tokens(inputs.x), None if inputs.times is None else _tokens(inputs.times)
    others = (
        inputs.norm_weight, inputs.norm_bias, inputs.weight, inputs.bias,
        inputs.residual, inputs.second, inputs.scale,
    )  # fmt: skip
    tensors = [x, times, *(None if t is None else t.contiguous() for t in others)]
    out, channels = inputs.weight.shape
    arguments = native.DenseArguments(
        x.numel() // channels, channels, out, _stride(x), 0 if times is None else _stride(times),
        *map(native.address, tensors),
        gather=native.address(inputs.gather), scatter=native.address(inputs.scatter),
        eps=inputs.eps, gelu=int(inputs.gelu), sigmoid=int(inputs.sigmoid),
    )  # fmt: skip
    return arguments, tensors


@torch.library.custom_op(
    "mambair::dense_backward",
    mutates_args=(),
    schema="(Tensor grad_y, Tensor? grad_kept, Tensor x, Tensor weight, Tensor? bias, "
    "Tensor? times, Tensor? norm_weight, Tensor? norm_bias, float eps, bool gelu, "
    "Tensor? residual, Tensor? second, Tensor? scale, Tensor? gather, Tensor? scatter, "
    "bool sigmoid) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def native_dense_backward(
    grad_y: Tensor, grad_kept: Tensor | None, *arguments: Any
) -> tuple[Tensor, ...]:
    """Gradients of what ``_DIFFERENTIATED`` names, in its order; empty for what is ``None``."""
    inputs = DenseInputs(*arguments)
    arguments_, _kept = _arguments(inputs)
    gradients = _empty_gradients(inputs)
    grad_y = grad_y.contiguous()
    grad_kept = None if grad_kept is None else grad_kept.contiguous()
    # A number of its own, not that of the threads: the sums must not depend on them.
    arguments_.parts = _BACKWARD_PARTS
    arguments_.grad_y, arguments_.grad_kept = native.address(grad_y), native.address(grad_kept)
    for name, gradient in zip(_DIFFERENTIATED, gradients, strict=True):
        setattr(arguments_, f"grad_{name}", native.address(gradient))
    native.run("mambair_dense_backward", arguments_)
    return gradients


@native_dense_backward.register_fake
def _(grad_y: Tensor, grad_kept: Tensor | None, *arguments: Any) -> tuple[Tensor, ...]:
    return _empty_gradients(DenseInputs(*arguments))


def _empty_gradients(inputs: DenseInputs) -> tuple[Tensor, ...]:
    tensors = (getattr(inputs, name) for name in _DIFFERENTIATED)
    return tuple(inputs.x.new_empty((0,) if t is None else t.shape) for t in tensors)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    named = DenseInputs(*inputs[:-1])
    ctx.keep = inputs[-1]
    # The residual itself is not needed.
    ctx.plain = {k: v for k, v in named._asdict().items() if not isinstance(v, Tensor)}
    tensors = {k: v for k, v in named._asdict().items() if isinstance(v, Tensor)}
    ctx.residual_shape = None if named.residual is None else named.residual.shape
    tensors.pop("residual", None)
    ctx.names = tuple(tensors)
    ctx.save_for_backward(*tensors.values())


def _autograd_backward(ctx: Any, grad_y: Tensor, grad_kept: Tensor) -> tuple[Any, ...]:
    inputs = DenseInputs(
        **{"residual": None, **ctx.plain, **dict(zip(ctx.names, ctx.saved_tensors, strict=True))}
    )
    found = native_dense_backward(grad_y, grad_kept if ctx.keep else None, *inputs)
    gradients = {
        name: gradient
        for name, gradient in zip(_DIFFERENTIATED, found, strict=True)
        if getattr(inputs, name) is not None
    }
    if ctx.residual_shape is not None:
        gradients["residual"] = grad_y.view(ctx.residual_shape)
    return (*(gradients.get(name) for name in DenseInputs._fields), None)


native_dense.register_autograd(_autograd_backward, setup_context=_setup_context)


def _tokens(x: Tensor) -> Tensor:
    """``x``, or a copy, whose tokens are contiguous and lie at a constant distance."""
    if x.is_contiguous() or x.stride(-1) != 1:
        return x.contiguous()
    size, step = 1, None
    for n, stride in zip(x.shape[-2::-1], x.stride()[-2::-1], strict=True):
        if n == 1:  # its stride means nothing
            continue
        step = stride if step is None else step
        if stride != size * step:
            return x.contiguous()
        size *= n
    return x


def _stride(x: Tensor) -> int:
    """Distance between the tokens of what :func:`_tokens` returns."""
    if x.is_contiguous():
        return x.shape[-1]
    return next(
        stride for n, stride in zip(x.shape[-2::-1], x.stride()[-2::-1], strict=True) if n > 1
    )
