"""Backend ``torch``: a chunked scan in plain PyTorch, for every device PyTorch supports.

The sequence is cut into *segments*; only one segment's B·segment·D·N elements exist at a time, in
the forward and in the backward pass, so memory does not grow with L·D·N. Between segments only the
state is kept. The backward pass recomputes a segment from its first state.

Inside, a group's tensors are ``(B, tokens, G, N, K)`` with K = D/G channels innermost: K is several
times N, and vector loops run over the innermost axis.

A segment is itself cut into *strips* that advance side by side, so that each of the few sequential
steps has enough elements to be worth an operator call:

1. every strip runs from a zero state and remembers only its last state;
2. the true first state of every strip follows by a short recurrence over the strips, whose decay
   is the exponential of A times the sum of the strip's steps;
3. every strip runs again from its true first state.

Every factor is the exponential of a non-positive number when A ≤ 0, and nothing is ever divided by
a cumulative product: the result stays finite on sequences of any length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mambair.ops.selective_scan.backend import (
    ScanBackend,
    ScanInputs,
    ScanRequest,
    register_backend,
)

# Elements of one tensor over tokens, channels and states; elements a sequential step advances.
# Half and twice these cost the same within the noise on 2 cores; far smaller or larger ones, more.
_SEGMENT_ELEMENTS = 1 << 20
_STEP_ELEMENTS = 1 << 15
# Least tokens of a segment: the states kept between segments stay below this share of L·D·N.
_MIN_SEGMENT = 64


@register_backend
class ChunkedBackend(ScanBackend):
    """Chunked scan with a recomputing backward pass; see the module's text."""

    name = "torch"
    priority = 100

    def unavailable_reason(self, request: ScanRequest) -> str | None:
        return None

    def saved_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        plan = _Plan(inputs)
        return (len(plan.segments()), *plan.state_shape)

    def forward(self, inputs: ScanInputs, keep: bool) -> tuple[Tensor, Tensor]:
        u, D = inputs.u, inputs.D
        plan = _Plan(inputs)
        y = torch.empty(u.shape, dtype=plan.dtype, device=u.device)
        state = torch.zeros(plan.state_shape, dtype=plan.dtype, device=u.device)
        first_states = state.new_empty(self.saved_shape(inputs) if keep else (0,))
        for index, piece in enumerate(plan.segments()):
            if keep:
                first_states[index] = state
            segment = _Segment(plan, piece, inputs)
            state = _scan_strips(segment.a, segment.b, segment.strip_decay, state)
            y[:, piece] = segment.ungroup(torch.matmul(segment.row(inputs.C), segment.b))
        if D is not None:
            y.addcmul_(u.to(plan.dtype), D.to(plan.dtype))
        return y, first_states

    def backward(
        self, inputs: ScanInputs, saved: Tensor, grad_y: Tensor
    ) -> tuple[Tensor | None, ...]:
        return _backward(inputs, saved, grad_y)


def _backward(
    inputs: ScanInputs, first_states: Tensor, grad_y: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of the inputs, in their order."""
    u, _, A, B, C, D, delta_bias = inputs
    plan = _Plan(inputs)
    grad_y = grad_y.to(plan.dtype)
    grad_u = torch.empty(u.shape, dtype=plan.dtype, device=u.device)
    grad_delta = torch.empty_like(grad_u)
    grad_decay = torch.zeros_like(plan.decay)  # (G, N, K)
    grad_B = torch.empty(B.shape, dtype=plan.dtype, device=B.device)
    grad_C = torch.empty_like(grad_B)

    carry = torch.zeros_like(first_states[0])  # exp(δ_t A) g_t of the token to the right
    for index, piece in reversed(list(enumerate(plan.segments()))):
        segment = _Segment(plan, piece, inputs)
        first = first_states[index]
        h = segment.b
        _scan_strips(segment.a, h, segment.strip_decay, first)
        dy = segment.group(grad_y)
        # g_t = ∂loss/∂h_t = C_t dy_t + exp(δ_{t+1} A) g_{t+1}
        g = dy * segment.column(C)
        carry = _scan_strips_backwards(segment.a, g, segment.strip_decay, carry)

        grad_C[:, piece] = segment.sum_channels(h, dy)
        grad_B[:, piece] = segment.sum_channels(g, segment.delta * segment.u)
        g_b = torch.matmul(segment.row(B), g)  # Σ_n g B, (B, S, G, 1, K)
        grad_u[:, piece] = segment.ungroup(segment.delta * g_b)

        # exp(δ_t A) h_{t-1} g_t, in place of exp(δ_t A)
        q = segment.a
        q[:, 1:].mul_(h[:, :-1])
        q[:, 0].mul_(first)
        q.mul_(g)
        grad_step = (q * plan.decay).sum(-2, keepdim=True).addcmul_(segment.u, g_b)
        grad_decay += q.mul_(segment.delta).sum((0, 1))
        grad_delta[:, piece] = segment.ungroup(grad_step * segment.softplus_slope())

    grad_D = grad_bias = None
    if D is not None:
        grad_D = torch.einsum("bld,bld->d", grad_y, u.to(plan.dtype))
        grad_u.addcmul_(grad_y, D.to(plan.dtype))
    if delta_bias is not None:
        grad_bias = grad_delta.sum((0, 1))
    grad_A = grad_decay.transpose(1, 2).reshape(A.shape)
    return grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_bias


class _Plan:
    """How a sequence is cut: segments of ``strips`` strips of ``steps`` tokens."""

    def __init__(self, inputs: ScanInputs) -> None:
        batch, self.length, channels = inputs.u.shape
        d_state = inputs.A.shape[1]
        self.groups = inputs.B.shape[2]
        self.dtype = inputs.compute_dtype
        self.state_shape = (batch, self.groups, d_state, channels // self.groups)
        # A as (G, N, K)
        self.decay = torch.unflatten(inputs.A.to(self.dtype), 0, (self.groups, -1)).transpose(1, 2)
        self.decay = self.decay.contiguous()

        per_token = max(1, batch * channels * d_state)
        tokens = min(self.length, max(_MIN_SEGMENT, _SEGMENT_ELEMENTS // per_token))
        self.strips = max(1, min(_STEP_ELEMENTS // per_token, int(tokens**0.5)))
        self.steps = -(-tokens // self.strips)

    def segments(self) -> list[slice]:
        """Slices of the token axis, in order."""
        size = self.strips * self.steps
        return [slice(i, min(i + size, self.length)) for i in range(0, self.length, size)]


class _Segment:
    """Discretized tensors of one segment, padded with tokens that leave the state as it is.

    ``a = exp(δ A)`` and ``b = δ u B`` are ``(B, S, G, N, K)``, S = strips · steps; ``delta`` and
    ``u`` are ``(B, S, G, 1, K)``.
    """

    def __init__(self, plan: _Plan, piece: slice, inputs: ScanInputs) -> None:
        self.plan = plan
        self.piece = piece
        self.length = piece.stop - piece.start
        self.padding = plan.strips * plan.steps - self.length

        raw = inputs.delta[:, piece].to(plan.dtype)
        if inputs.delta_bias is not None:
            raw = raw + inputs.delta_bias.to(plan.dtype)
        self._raw_delta = raw
        # A padding token has δ = 0: its a is 1 and its b is 0.
        self.delta = self._group_padded(F.softplus(raw))
        self.u = self.group(inputs.u)
        self.a = (self.delta * plan.decay).exp_()
        self.b = self.delta * self.u * self.column(inputs.B)
        strip_delta = torch.unflatten(self.delta, 1, (plan.strips, plan.steps)).sum(2)
        self.strip_decay = (strip_delta * plan.decay).exp_()  # (B, strips, G, N, K)

    def softplus_slope(self) -> Tensor:
        """Derivative of the softplus, ``(B, S, G, 1, K)``; 1 where it is the identity."""
        raw = self._raw_delta
        return self._group_padded(torch.where(raw > 20, 1.0, torch.sigmoid(raw)))

    def group(self, x: Tensor) -> Tensor:
        """This segment of ``x (B, L, D)`` as ``(B, S, G, 1, K)``."""
        return self._group_padded(x[:, self.piece].to(self.plan.dtype))

    def ungroup(self, x: Tensor) -> Tensor:
        """``(B, S, G, 1, K)`` as ``(B, length, D)``, without the padding tokens."""
        return x.flatten(2)[:, : self.length]

    def row(self, x: Tensor) -> Tensor:
        """This segment of B or C ``(B, L, G, N)`` as ``(B, S, G, 1, N)``."""
        return self._pad(x[:, self.piece].to(self.plan.dtype)).unsqueeze(-2)

    def column(self, x: Tensor) -> Tensor:
        """This segment of B or C ``(B, L, G, N)`` as ``(B, S, G, N, 1)``."""
        return self._pad(x[:, self.piece].to(self.plan.dtype)).unsqueeze(-1)

    def sum_channels(self, x: Tensor, weight: Tensor) -> Tensor:
        """Sum over a group's channels of ``x · weight``: ``(B, length, G, N)``."""
        return torch.matmul(x, weight.transpose(-1, -2)).squeeze(-1)[:, : self.length]

    def _group_padded(self, x: Tensor) -> Tensor:
        grouped: Tensor = torch.unflatten(self._pad(x), 2, (self.plan.groups, 1, -1))
        return grouped

    def _pad(self, x: Tensor) -> Tensor:
        """Appends zero tokens to ``(B, length, ...)``."""
        if self.padding == 0:
            return x
        return torch.cat([x, x.new_zeros(x.shape[0], self.padding, *x.shape[2:])], dim=1)


def _scan_strips(a: Tensor, b: Tensor, strip_decay: Tensor, state: Tensor) -> Tensor:
    """Replaces ``b`` by the states ``h_t = a_t h_{t-1} + b_t``; returns the last one.

    ``a``, ``b`` are ``(B, S, G, N, K)``, ``strip_decay`` is ``(B, strips, G, N, K)``, ``state`` is
    ``(B, G, N, K)``.
    """
    strips = strip_decay.shape[1]
    a_steps, b_steps = (torch.unflatten(x, 1, (strips, -1)).unbind(2) for x in (a, b))
    first = state.unsqueeze(1)
    if strips > 1:
        last = b_steps[0]
        for a_step, b_step in zip(a_steps[1:], b_steps[1:], strict=True):
            last = torch.addcmul(b_step, a_step, last)
        firsts = [state]
        for decay, last_state in zip(strip_decay.unbind(1), last.unbind(1), strict=True):
            firsts.append(torch.addcmul(last_state, decay, firsts[-1]))
        first, state = torch.stack(firsts[:-1], dim=1), firsts[-1]
    h = b_steps[0].addcmul_(a_steps[0], first)
    for a_step, b_step in zip(a_steps[1:], b_steps[1:], strict=True):
        h = b_step.addcmul_(a_step, h)
    return state if strips > 1 else h[:, 0].clone()


def _scan_strips_backwards(a: Tensor, c: Tensor, strip_decay: Tensor, carry: Tensor) -> Tensor:
    """Replaces ``c`` by ``g_t = c_t + a_{t+1} g_{t+1}``; returns ``a_0 g_0`` of the segment.

    ``carry (B, G, N, K)`` is ``a g`` of the token to the right of the segment.
    """
    strips = strip_decay.shape[1]
    a_steps, c_steps = (torch.unflatten(x, 1, (strips, -1)).unbind(2) for x in (a, c))
    incoming = carry.unsqueeze(1)
    if strips > 1:
        g = c_steps[-1]
        for c_step, a_step in zip(c_steps[-2::-1], a_steps[:0:-1], strict=True):
            g = torch.addcmul(c_step, a_step, g)
        g = g * a_steps[0]
        carries = [carry]
        for decay, g_strip in zip(strip_decay.unbind(1)[::-1], g.unbind(1)[::-1], strict=True):
            carries.append(torch.addcmul(g_strip, decay, carries[-1]))
        incoming, carry = torch.stack(carries[-2::-1], dim=1), carries[-1]
    g = c_steps[-1].add_(incoming)
    for c_step, a_step in zip(c_steps[-2::-1], a_steps[:0:-1], strict=True):
        g = c_step.addcmul_(a_step, g)
    return carry if strips > 1 else a[:, 0] * c[:, 0]
