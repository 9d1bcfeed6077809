"""A linear layer with the operations around it, in one pass over the tokens.

On CPUs a C++ kernel takes the tokens lot by lot (a few at a time: see the glossary of block.h)
through normalization, product, GELU and residuals while they are in cache, and again for the
gradients, for which only the inputs are kept; everywhere else PyTorch's operators do the same one
by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambair.ops import native

_SHARES = 16  # of the tokens, which the C++ backward pass sums one by one


class Residual(NamedTuple):
    """The terms added to a result: ``first``, and ``second · scale`` if ``second`` is given.

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
) -> Tensor:
    """``gelu(layer(norm(x · times))) + residual``; everything but the layer is optional.

    Args:
        x: ``(…, in)``.
        layer: a linear layer, or a 1×1 convolution, which is one.
        times: multiplied with ``x``, the same shape.
        norm: over the channels.
        gelu: whether the product passes through the (exact) GELU.
        residual: terms added at the end.

    Returns:
        ``(…, out)``.
    """
    if _native_can_run(x, layer, times, norm, residual):
        weight = layer.weight.flatten(1)
        norms = (norm.weight, norm.bias, norm.eps) if norm is not None else (None, None, 0.0)
        added = residual or (None, None, None)
        y: Tensor = native_dense(x, weight, layer.bias, times, *norms, gelu, *added)
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
    if residual is not None:
        y = y + residual.first
        if residual.second is not None:
            assert residual.scale is not None
            y = residual.second * residual.scale + y
    return y


def _native_can_run(
    x: Tensor,
    layer: Any,
    times: Tensor | None,
    norm: nn.LayerNorm | None,
    residual: Residual | None,
) -> bool:
    """On a CPU, in float32, and where nobody has put something in between."""
    if not native.AVAILABLE or torch.is_autocast_enabled("cpu"):
        return False
    if type(layer) not in (nn.Linear, nn.Conv2d) or has_hooks(layer):
        return False
    norms: tuple[Tensor | None, ...] = ()
    if norm is not None:
        if type(norm) is not nn.LayerNorm or has_hooks(norm):
            return False
        norms = (norm.weight, norm.bias)
        if None in norms:
            return False
    return all(
        tensor is None or (tensor.device.type == "cpu" and tensor.dtype == torch.float32)
        for tensor in (x, layer.weight, layer.bias, times, *norms, *(residual or ()))
    )


def has_hooks(module: nn.Module) -> bool:
    """Returns whether a module has hooks, or a forward of its own."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
    )


class _Inputs(NamedTuple):
    """The arguments of :func:`native_dense`."""

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


_SCHEMA = (
    "Tensor x, Tensor weight, Tensor? bias, Tensor? times, Tensor? norm_weight, "
    "Tensor? norm_bias, float eps, bool gelu, Tensor? residual, Tensor? second, Tensor? scale"
)
# Those that have a gradient of their own (the residual's is that of the result).
_DIFFERENTIATED = (
    "x", "weight", "bias", "times", "norm_weight", "norm_bias", "second", "scale",
)  # fmt: skip


@torch.library.custom_op(
    "mambair::dense", mutates_args=(), schema=f"({_SCHEMA}) -> Tensor", device_types="cpu"
)
def native_dense(*arguments: Any) -> Tensor:
    """The C++ kernel."""
    inputs = _Inputs(*arguments)
    structure, _kept = _arguments(inputs)
    y = inputs.x.new_empty(*inputs.x.shape[:-1], inputs.weight.shape[0])
    structure.y = native.address(y)
    native.run("mambair_dense", structure)
    return y


@native_dense.register_fake
def _(x: Tensor, weight: Tensor, *_: Any) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@torch.library.custom_op(
    "mambair::dense_backward",
    mutates_args=(),
    schema=f"(Tensor grad_y, {_SCHEMA}) -> ({', '.join(['Tensor'] * len(_DIFFERENTIATED))})",
    device_types="cpu",
)
def native_dense_backward(grad_y: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Gradients of what ``_DIFFERENTIATED`` names, in its order; empty for what is ``None``."""
    inputs = _Inputs(*arguments)
    structure, _kept = _arguments(inputs)
    gradients = _empty_gradients(inputs)
    grad_y = grad_y.contiguous()
    # A number of its own, not that of the threads: the sums must not depend on them.
    structure.shares = _SHARES
    structure.grad_y = native.address(grad_y)
    for name, gradient in zip(_DIFFERENTIATED, gradients, strict=True):
        setattr(structure, f"grad_{name}", native.address(gradient))
    native.run("mambair_dense_backward", structure)
    return gradients


@native_dense_backward.register_fake
def _(grad_y: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return _empty_gradients(_Inputs(*arguments))


def _arguments(inputs: _Inputs) -> tuple[native.Arguments, list[Tensor | None]]:
    """Arguments common to both passes, and the tensors that must outlive the call."""
    x, times = _tokens(inputs.x), None if inputs.times is None else _tokens(inputs.times)
    tensors = {"x": x, "times": times}
    for name in ("norm_weight", "norm_bias", "weight", "bias", "residual", "second", "scale"):
        tensor = getattr(inputs, name)
        tensors[name] = None if tensor is None else tensor.contiguous()
    out, channels = inputs.weight.shape
    arguments = native.DenseArguments(
        tokens=x.numel() // channels, out=out, x_token=_stride(x),
        times_token=0 if times is None else _stride(times), eps=inputs.eps, gelu=int(inputs.gelu),
        **{"in": channels}, **{name: native.address(tensor) for name, tensor in tensors.items()},
    )  # fmt: skip
    return arguments, list(tensors.values())


def _empty_gradients(inputs: _Inputs) -> tuple[Tensor, ...]:
    tensors = (getattr(inputs, name) for name in _DIFFERENTIATED)
    return tuple(inputs.x.new_empty((0,) if t is None else t.shape) for t in tensors)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    named = _Inputs(*inputs)
    ctx.has_residual = named.residual is not None
    kept = named._replace(residual=None)._asdict()  # only its gradient is needed, which is known
    ctx.plain = {k: v for k, v in kept.items() if not isinstance(v, Tensor)}
    ctx.names = tuple(k for k in kept if k not in ctx.plain)
    ctx.save_for_backward(*(kept[name] for name in ctx.names))


def _autograd_backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    saved = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
    inputs = _Inputs(**ctx.plain, **saved)
    found = native_dense_backward(grad_y, *inputs)
    gradients = {k: v for k, v in zip(_DIFFERENTIATED, found, strict=True) if k in saved}
    if ctx.has_residual:
        gradients["residual"] = grad_y
    return tuple(gradients.get(name) for name in _Inputs._fields)


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
