"""Routing: a class for every token, and the order that makes tokens of a class neighbors."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mambair.ops import native
from mambair.ops.gumbel import gumbel_noise


class Routes(NamedTuple):
    """The order of tokens.

    Attributes:
        chosen: class of every token, int64 ``(B, L)``.
        order: token at every place, tokens of one class in raster order; counted through the
            batch, int64 ``(B·L,)``.
        inverse: place of every token, the inverse permutation.
    """

    chosen: Tensor
    order: Tensor
    inverse: Tensor


def routes_of(chosen: Tensor) -> Routes:
    """The stable order of chosen classes ``(B, L)``."""
    batch, length = chosen.shape
    first = torch.arange(batch, device=chosen.device).unsqueeze(1) * length
    order = (chosen.argsort(dim=1, stable=True) + first).flatten()
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.numel(), device=chosen.device)
    return Routes(chosen, order, inverse)


def route(scores: Tensor, keys: Tensor | None) -> Routes:
    """Argmax of scores plus Gumbel noise, and the order by it; no gradient.

    Args:
        scores: unnormalized log-probabilities, ``(B, L, T)``.
        keys: keys of the noise (:mod:`~mambair.ops.gumbel`), int32 ``(B,)``; ``None``: no noise.
    """
    if _native_can_run(scores):
        return Routes(*native_route(scores.detach(), keys, False)[1:])
    return routes_of(_noisy(scores.detach(), keys).argmax(dim=-1))


def route_softly(scores: Tensor, keys: Tensor) -> tuple[Routes, Tensor]:
    """As :func:`route`, and the softmax of the noisy scores ``(B, L, T)``, with its gradient."""
    if _native_can_run(scores):
        soft, *routes = native_route(scores, keys, True)
        return Routes(*routes), soft
    soft = _noisy(scores, keys).softmax(dim=-1)
    return routes_of(soft.argmax(dim=-1)), soft


def _native_can_run(scores: Tensor) -> bool:
    return native.AVAILABLE and scores.device.type == "cpu" and scores.dtype == torch.float32


def _noisy(scores: Tensor, keys: Tensor | None) -> Tensor:
    scores = scores.float()
    if keys is None:
        return scores
    return scores + gumbel_noise(keys, scores.shape[1], scores.shape[2])


@torch.library.custom_op(
    "mambair::route",
    mutates_args=(),
    schema="(Tensor scores, Tensor? keys, bool soft) -> (Tensor, Tensor, Tensor, Tensor)",
    device_types="cpu",
)
def native_route(
    scores: Tensor, keys: Tensor | None, soft: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The C++ kernel: the noise is drawn inside, the order found by counting.

    Returns:
        The softmax of the noisy scores, empty without ``soft``, and the fields of :class:`Routes`.
    """
    scores = scores.contiguous()
    batch, length, classes = scores.shape
    chosen = scores.new_empty(batch, length, dtype=torch.int64)
    order = scores.new_empty(batch * length, dtype=torch.int64)
    inverse = torch.empty_like(order)
    softmax = torch.empty_like(scores) if soft else scores.new_empty(0)
    arguments = native.RouteArguments(
        batch=batch, length=length, classes=classes, scores=native.address(scores),
        chosen=native.address(chosen), order=native.address(order),
        inverse=native.address(inverse), keys=native.address(keys),
        soft=native.address(softmax) if soft else None,
    )  # fmt: skip
    native.run("mambair_route", arguments)
    return softmax, chosen, order, inverse


@native_route.register_fake
def _(scores: Tensor, keys: Tensor | None, soft: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, length, _ = scores.shape
    flat = scores.new_empty(batch * length, dtype=torch.int64)
    softmax = scores.new_empty(scores.shape if soft else (0,))
    chosen = scores.new_empty(batch, length, dtype=torch.int64)
    return softmax, chosen, flat, torch.empty_like(flat)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(output[0])


def _autograd_backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    (soft,) = ctx.saved_tensors
    weighted = soft * gradients[0]
    return weighted - soft * weighted.sum(dim=-1, keepdim=True), None, None


native_route.register_autograd(_autograd_backward, setup_context=_setup_context)
