"""Triton kernels of the selective scan (``triton_scan.py`` launches them).

A program holds a tile of ``T`` tokens by ``BUNDLE`` channels of one group and goes through the
states one by one, so the registers it needs do not depend on N. Chunks of ``T`` tokens run in
parallel:

1. ``summarize_chunks``: the state a chunk leaves if it begins with none, and its sum of steps;
2. ``carry_states``: from chunk to chunk, the state every chunk begins with;
3. ``scan_chunks`` or ``scan_chunks_backward``: the chunk itself, by an associative scan.

No decay is divided by: every factor is the exponential of A times a sum of steps. State and sums
are float32 whatever the tensors hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import triton
import triton.language as tl

_Kernel = TypeVar("_Kernel", bound=Callable[..., object])


def _jit(function: _Kernel) -> _Kernel:
    """``triton.jit``, which has no types."""
    return cast(_Kernel, triton.jit(function))


@_jit
def _softplus(x: tl.tensor) -> tl.tensor:
    """log(1 + exp(x)), to the last bit for the smallest steps too.

    max(x, 0) + log1p(z) with z = exp(−|x|), and log1p(z) = 2 artanh(z / (2 + z)) by its series.
    """
    z = tl.exp(-tl.abs(x))
    s = z / (2.0 + z)
    q = s * s
    series = 1.0 / 13 + q * (1.0 / 15)
    series = 1.0 / 9 + q * (1.0 / 11 + q * series)
    series = 1.0 / 5 + q * (1.0 / 7 + q * series)
    series = 1.0 + q * (1.0 / 3 + q * series)
    return tl.maximum(x, 0.0) + 2.0 * s * series


@_jit
def _follow(
    decay: tl.tensor, state: tl.tensor, next_decay: tl.tensor, next_state: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """Two stretches of the recurrence, one after the other."""
    return decay * next_decay, next_decay * state + next_state


@_jit
def _steps(
    delta: tl.tensor,
    bias: tl.tensor,
    i: tl.tensor,
    token: tl.tensor,
    channel: tl.tensor,
    valid: tl.tensor,
    HAS_BIAS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Step sizes after bias and softplus, 0 where not valid, and what the softplus was taken of.

    ``delta`` points to the first token of the chunk, ``token`` is the distance to the next.
    """
    raw = tl.load(delta + i[:, None] * token + channel[None, :], mask=valid, other=0.0)
    raw = raw.to(tl.float32)
    if HAS_BIAS:
        raw += tl.load(bias + channel)[None, :]
    return tl.where(valid, _softplus(raw), 0.0), raw


@_jit
def _bundle(
    index: tl.tensor, width: tl.tensor, BUNDLE: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Group and channels of a bundle, clamped to those that exist, and which of them do."""
    per_group = tl.cdiv(width, BUNDLE)
    group = index // per_group
    inside = (index % per_group) * BUNDLE + tl.arange(0, BUNDLE)
    exists = inside < width
    return group, group * width + tl.minimum(inside, width - 1), exists


@_jit
def summarize_chunks(
    source: tl.tensor,
    delta: tl.tensor,
    A: tl.tensor,
    matrix: tl.tensor,
    bias: tl.tensor,
    states: tl.tensor,
    totals: tl.tensor,
    length: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    d_state: tl.tensor,
    chunks: tl.tensor,
    source_batch: tl.tensor,
    source_token: tl.tensor,
    delta_batch: tl.tensor,
    delta_token: tl.tensor,
    matrix_batch: tl.tensor,
    matrix_token: tl.tensor,
    matrix_group: tl.tensor,
    HAS_BIAS: tl.constexpr,
    BACKWARD: tl.constexpr,
    T: tl.constexpr,
    BUNDLE: tl.constexpr,
) -> None:
    """The contribution of a chunk to the state that runs through it.

    Forward: ``source`` is u and ``matrix`` B, and the state runs to the right; backward: dy and C,
    and the adjoint state runs to the left. Writes ``states (B, chunks, N, D)`` and the sums of
    steps ``totals (B, chunks, D)``.
    """
    chunk = tl.program_id(0)
    group, channel, exists = _bundle(tl.program_id(1), width, BUNDLE)
    batch = tl.program_id(2).to(tl.int64)
    i = tl.arange(0, T)
    t = chunk * T + i
    start = chunk.to(tl.int64) * T  # so that offsets within the chunk fit 32 bits
    inside = t < length
    valid = inside[:, None] & exists[None, :]
    delta += batch * delta_batch + start * delta_token
    source += batch * source_batch + start * source_token
    matrix += batch * matrix_batch + start * matrix_token + group * matrix_group
    step, _ = _steps(delta, bias, i, delta_token, channel, valid, HAS_BIAS)
    x = tl.load(source + i[:, None] * source_token + channel[None, :], mask=valid, other=0.0)
    x = x.to(tl.float32)
    if BACKWARD:
        span = tl.cumsum(step, axis=0)  # to the left of the chunk
    else:
        x = x * step
        following = (t + 1 < length) & (i < T - 1)
        later, _ = _steps(
            delta, bias, i + 1, delta_token, channel, following[:, None] & exists[None, :], HAS_BIAS
        )
        span = tl.cumsum(later, axis=0, reverse=True)  # to the right of the chunk
    at = batch * chunks + chunk
    tl.store(totals + at * channels + channel, tl.sum(step, axis=0), mask=exists)
    for n in range(d_state):
        decay = tl.exp(tl.load(A + n * channels + channel)[None, :] * span)
        row = tl.load(matrix + i * matrix_token + n, mask=inside, other=0.0).to(tl.float32)
        added = tl.sum(decay * x * row[:, None], axis=0)
        tl.store(states + (at * d_state + n) * channels + channel, added, mask=exists)


@_jit
def carry_states(
    states: tl.tensor,
    totals: tl.tensor,
    A: tl.tensor,
    channels: tl.tensor,
    d_state: tl.tensor,
    chunks: tl.tensor,
    REVERSE: tl.constexpr,
    STATES: tl.constexpr,
    BUNDLE: tl.constexpr,
) -> None:
    """Replaces what chunks add by the state they begin with (``REVERSE``: from the right)."""
    channel = tl.program_id(0) * BUNDLE + tl.arange(0, BUNDLE)
    batch = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, STATES)
    valid = (n < d_state)[:, None] & (channel < channels)[None, :]
    tile = n[:, None] * channels + channel[None, :]
    rate = tl.load(A + tile, mask=valid, other=0.0)
    state = tl.zeros((STATES, BUNDLE), dtype=tl.float32)
    for i in range(chunks):
        at = batch * chunks + (chunks - 1 - i if REVERSE else i)
        total = tl.load(totals + at * channels + channel, mask=channel < channels, other=0.0)
        place = states + at * d_state * channels + tile
        added = tl.load(place, mask=valid, other=0.0)
        tl.debug_barrier()  # a small tile is held by several warps, and one of them stores
        tl.store(place, state, mask=valid)
        state = tl.exp(rate * total[None, :]) * state + added


@_jit
def scan_chunks(
    u: tl.tensor,
    delta: tl.tensor,
    A: tl.tensor,
    B: tl.tensor,
    C: tl.tensor,
    D: tl.tensor,
    bias: tl.tensor,
    states: tl.tensor,
    y: tl.tensor,
    length: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    d_state: tl.tensor,
    chunks: tl.tensor,
    u_batch: tl.tensor,
    u_token: tl.tensor,
    delta_batch: tl.tensor,
    delta_token: tl.tensor,
    B_batch: tl.tensor,
    B_token: tl.tensor,
    B_group: tl.tensor,
    C_batch: tl.tensor,
    C_token: tl.tensor,
    C_group: tl.tensor,
    HAS_D: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    T: tl.constexpr,
    BUNDLE: tl.constexpr,
) -> None:
    """The output ``y (B, L, D)`` of a chunk from the state it begins with."""
    chunk = tl.program_id(0)
    group, channel, exists = _bundle(tl.program_id(1), width, BUNDLE)
    batch = tl.program_id(2).to(tl.int64)
    i = tl.arange(0, T)
    t = chunk * T + i
    start = chunk.to(tl.int64) * T  # so that offsets within the chunk fit 32 bits
    inside = t < length
    valid = inside[:, None] & exists[None, :]
    delta += batch * delta_batch + start * delta_token
    u += batch * u_batch + start * u_token
    B += batch * B_batch + start * B_token + group * B_group
    C += batch * C_batch + start * C_token + group * C_group
    y += (batch * length + start) * channels
    step, _ = _steps(delta, bias, i, delta_token, channel, valid, HAS_BIAS)
    x = tl.load(u + i[:, None] * u_token + channel[None, :], mask=valid, other=0.0)
    x = x.to(tl.float32)
    if HAS_D:
        out = x * tl.load(D + channel)[None, :]
    else:
        out = tl.zeros((T, BUNDLE), dtype=tl.float32)
    x = x * step
    first = states + (batch * chunks + chunk) * d_state * channels + channel
    for n in range(d_state):
        decay = tl.exp(tl.load(A + n * channels + channel)[None, :] * step)
        row = tl.load(B + i * B_token + n, mask=inside, other=0.0).to(tl.float32)
        column = tl.load(C + i * C_token + n, mask=inside, other=0.0).to(tl.float32)
        passed, state = tl.associative_scan((decay, x * row[:, None]), 0, _follow)
        state += passed * tl.load(first + n * channels)[None, :]
        out += state * column[:, None]
    tl.store(y + i[:, None] * channels + channel[None, :], out, mask=valid)


@_jit
def scan_chunks_backward(
    u: tl.tensor,
    delta: tl.tensor,
    A: tl.tensor,
    B: tl.tensor,
    C: tl.tensor,
    D: tl.tensor,
    bias: tl.tensor,
    states: tl.tensor,
    adjoints: tl.tensor,
    grad_y: tl.tensor,
    grad_u: tl.tensor,
    grad_delta: tl.tensor,
    grad_A: tl.tensor,
    grad_B: tl.tensor,
    grad_C: tl.tensor,
    length: tl.tensor,
    width: tl.tensor,
    channels: tl.tensor,
    d_state: tl.tensor,
    chunks: tl.tensor,
    u_batch: tl.tensor,
    u_token: tl.tensor,
    delta_batch: tl.tensor,
    delta_token: tl.tensor,
    B_batch: tl.tensor,
    B_token: tl.tensor,
    B_group: tl.tensor,
    C_batch: tl.tensor,
    C_token: tl.tensor,
    C_group: tl.tensor,
    HAS_D: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    T: tl.constexpr,
    BUNDLE: tl.constexpr,
) -> None:
    """Gradients of a chunk, from its first state and the adjoint state that comes from its right.

    With k_t = a_t h_{t−1} (decay a, adjoint g): the loss changes by g k A with the step, by g k δ
    with A, by g δ u with B and by dy (k + δ B u) with C. Gradients of A are written a chunk, those
    of B and C a bundle of channels; they remain to be summed.
    """
    chunk = tl.program_id(0)
    bundle = tl.program_id(1)
    group, channel, exists = _bundle(bundle, width, BUNDLE)
    batch = tl.program_id(2).to(tl.int64)
    i = tl.arange(0, T)
    t = chunk * T + i
    start = chunk.to(tl.int64) * T  # so that offsets within the chunk fit 32 bits
    inside = t < length
    valid = inside[:, None] & exists[None, :]
    preceded = inside & (i > 0)
    earlier = preceded[:, None] & exists[None, :]
    followed = (t + 1 < length) & (i < T - 1)

    delta += batch * delta_batch + start * delta_token
    u += batch * u_batch + start * u_token
    B += batch * B_batch + start * B_token + group * B_group
    C += batch * C_batch + start * C_token + group * C_group
    flat = (batch * length + start) * channels
    step, raw = _steps(delta, bias, i, delta_token, channel, valid, HAS_BIAS)
    previous_step, _ = _steps(delta, bias, i - 1, delta_token, channel, earlier, HAS_BIAS)
    next_step, _ = _steps(
        delta, bias, i + 1, delta_token, channel, followed[:, None] & exists[None, :], HAS_BIAS
    )
    at_u = u + i[:, None] * u_token + channel[None, :]
    x = tl.load(at_u, mask=valid, other=0.0).to(tl.float32)
    previous = previous_step * tl.load(at_u - u_token, mask=earlier, other=0.0).to(tl.float32)
    place = i[:, None] * channels + channel[None, :]
    dy = tl.load(grad_y + flat + place, mask=valid, other=0.0).to(tl.float32)

    through_decay = tl.zeros((T, BUNDLE), dtype=tl.float32)
    through_input = tl.zeros((T, BUNDLE), dtype=tl.float32)
    ends = (batch * chunks + chunk) * d_state * channels + channel
    summed_at = ((batch * tl.num_programs(1) + bundle) * length + start) * d_state
    for n in range(d_state):
        rate = tl.load(A + n * channels + channel)[None, :]
        at_B = B + i * B_token + n
        row = tl.load(at_B, mask=inside, other=0.0).to(tl.float32)
        previous_row = tl.load(at_B - B_token, mask=preceded, other=0.0).to(tl.float32)
        column = tl.load(C + i * C_token + n, mask=inside, other=0.0).to(tl.float32)

        decay = tl.exp(rate * step)
        passed, kept = tl.associative_scan(
            (decay, decay * previous * previous_row[:, None]), 0, _follow
        )
        kept += passed * tl.load(states + ends + n * channels)[None, :]
        passed, adjoint = tl.associative_scan(
            (tl.exp(rate * next_step), dy * column[:, None]), 0, _follow, reverse=True
        )
        adjoint += passed * tl.load(adjoints + ends + n * channels)[None, :]

        state = kept + step * x * row[:, None]
        rows = i * d_state + n
        tl.store(grad_C + summed_at + rows, tl.sum(dy * state, axis=1), mask=inside)
        tl.store(grad_B + summed_at + rows, tl.sum(adjoint * step * x, axis=1), mask=inside)
        through_input += adjoint * row[:, None]
        adjoint = adjoint * kept
        through_decay += adjoint * rate
        summed = tl.sum(adjoint * step, axis=0)
        tl.store(grad_A + ends + n * channels, summed, mask=exists)

    slope = tl.sigmoid(raw)
    tl.store(grad_delta + flat + place, (through_decay + through_input * x) * slope, mask=valid)
    grad_x = through_input * step
    if HAS_D:
        grad_x += dy * tl.load(D + channel)[None, :]
    tl.store(grad_u + flat + place, grad_x, mask=valid)
