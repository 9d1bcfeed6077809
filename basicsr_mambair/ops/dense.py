"""A linear layer with what stands around it, in one pass over the tokens.

On CPUs without gradients a C++ kernel takes a block of tokens through normalisation, product, GELU
and residuals while it is in cache; everywhere else PyTorch's operators do the same one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_mambair.ops import native


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
) -> Tensor:
    """``gelu(layer(norm(x · times))) + residual``; every part but the layer is optional.

    Args:
        x: ``(…, in)``.
        layer: a linear layer, or a 1×1 convolution, which is one.
        times: multiplied with ``x``, the same shape.
        norm: over the channels.
        gelu: whether the product passes through the (exact) GELU.
        residual: what is added at the end.

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
    """On a CPU, in float32, without gradients, and where nobody has put something in between."""
    if not native.AVAILABLE or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if type(layer) not in (nn.Linear, nn.Conv2d) or _has_hooks(layer):
        return False
    if norm is not None and (norm.weight is None or norm.bias is None or _has_hooks(norm)):
        return False
    return all(
        tensor is None or (tensor.device.type == "cpu" and tensor.dtype == torch.float32)
        for tensor in (x, layer.weight, times, norm and norm.weight, *(residual or ()))
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


@torch.library.custom_op(
    "mambair::dense",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor? bias, Tensor? times, Tensor? norm_weight, "
    "Tensor? norm_bias, float eps, bool gelu, Tensor? residual, Tensor? second, Tensor? scale) "
    "-> Tensor",
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
) -> Tensor:
    """The C++ kernel; no gradient."""
    library = native.library()
    assert library is not None
    out, channels = weight.shape
    lanes = library.mambair_lanes()
    wide = -(-out // lanes) * lanes
    packed = torch.zeros(channels + 1, wide)  # the bias is its last row
    packed[:channels, :out] = weight.t()
    if bias is not None:
        packed[channels, :out] = bias
    x, times = _tokens(x), None if times is None else _tokens(times)
    residual, second = (None if t is None else t.contiguous() for t in (residual, second))
    y = torch.empty(*x.shape[:-1], out)
    tokens = x.numel() // channels
    arguments = native.DenseArguments(
        tokens, channels, out, wide, _stride(x), 0 if times is None else _stride(times),
        *map(native.address, (x, times, norm_weight, norm_bias, packed, packed[channels])),
        *map(native.address, (residual, second, scale, y)), eps, int(gelu),
    )  # fmt: skip
    native.call(library.mambair_dense, arguments)
    return y


@native_dense.register_fake
def _(x: Tensor, weight: Tensor, *_: object) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


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
