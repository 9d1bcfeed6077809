"""Routing: a class for every token, and the order that makes tokens of a class neighbours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from basicsr_mambair.ops import native
from basicsr_mambair.ops.gumbel import seeded_gumbel, stream_key


class Routes(NamedTuple):
    """Where tokens go.

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


def route(scores: Tensor, seed: int | None, stream: int) -> Routes:
    """Argmax of scores plus seeded Gumbel noise, and the order by it; no gradient.

    Args:
        scores: unnormalised log-probabilities, ``(B, L, T)``.
        seed: of the noise; ``None``: no noise.
        stream: tells apart draws under one seed.
    """
    if native.AVAILABLE and scores.device.type == "cpu" and scores.dtype == torch.float32:
        return Routes(
            *native_route(scores.detach(), stream_key(seed or 0, stream), seed is not None)
        )
    if seed is not None:
        noise = seeded_gumbel(
            scores.shape[1], scores.shape[2], seed=seed, stream=stream, device=scores.device
        )
        scores = scores + noise.to(scores.dtype)
    return routes_of(scores.argmax(dim=-1))


@torch.library.custom_op(
    "mambair::route",
    mutates_args=(),
    schema="(Tensor scores, int key, bool seeded) -> (Tensor, Tensor, Tensor)",
)
def native_route(scores: Tensor, key: int, seeded: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The C++ kernel: the noise is drawn inside, the order found by counting."""
    library = native.library()
    assert library is not None
    scores = scores.contiguous()
    batch, length, classes = scores.shape
    chosen = torch.empty(batch, length, dtype=torch.int64)
    order = torch.empty(batch * length, dtype=torch.int64)
    inverse = torch.empty_like(order)
    arguments = native.RouteArguments(
        batch, length, classes,
        native.address(scores), native.address(chosen), native.address(order),
        native.address(inverse), key, int(seeded),
    )  # fmt: skip
    native.call(library.mambair_route, arguments)
    return chosen, order, inverse


@native_route.register_fake
def _(scores: Tensor, key: int, seeded: bool) -> tuple[Tensor, Tensor, Tensor]:
    batch, length, _ = scores.shape
    flat = scores.new_empty(batch * length, dtype=torch.int64)
    return scores.new_empty(batch, length, dtype=torch.int64), flat, torch.empty_like(flat)
