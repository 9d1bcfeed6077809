"""Backend ``cpp``: the C++ scan for CPUs, forward and backward.

16 channels ride in the lanes of a vector with their states in registers. Tasks are segments of
tokens of such a block of channels, each of which goes on where the one before stopped, so the
result does not depend on the number of threads. The forward pass keeps the state before every chunk
of tokens, and the backward pass recomputes a chunk from it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mambair.ops import native
from mambair.ops.selective_scan.backend import ScanBackend, ScanInputs, ScanRequest


class NativeBackend(ScanBackend):
    """C++ scan; see the module's text."""

    name = "cpp"

    def unavailable_reason(self, request: ScanRequest) -> str | None:
        if request.device != "cpu":
            return "it runs on CPUs"
        if native.library() is None:
            return native.missing_reason()
        if request.dtype != torch.float32:
            return f"it computes in float32, not {request.dtype}"
        if request.d_state > native.MAX_STATES:
            return f"it takes d_state up to {native.MAX_STATES}, not {request.d_state}"
        return None

    def saved_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        batch, length, channels = inputs.u.shape
        groups, d_state = inputs.B.shape[2:]
        blocks = groups * -(-(channels // groups) // native.LANES)
        return (batch, blocks, -(-length // native.CHUNK), d_state, native.LANES)

    def forward(self, inputs: ScanInputs, keep: bool) -> tuple[Tensor, Tensor]:
        states = native.empty(*(self.saved_shape(inputs) if keep else (0,)))
        return _Call(inputs).forward(states), states

    def backward(
        self, inputs: ScanInputs, saved: Tensor, grad_y: Tensor
    ) -> tuple[Tensor | None, ...]:
        return _Call(inputs).backward(grad_y, saved)


class _Call:
    """Float32 views of the inputs with unit inner stride, and the structure that points to them."""

    def __init__(self, inputs: ScanInputs) -> None:
        self.lanes = native.LANES
        self.inputs = inputs
        u, delta, A, B, C, D, bias = (None if x is None else _rows(x) for x in inputs)
        assert u is not None and delta is not None and A is not None
        assert B is not None and C is not None
        batch, length, channels = u.shape
        self.groups, self.d_state = B.shape[2:]
        self.width = channels // self.groups
        self.blocks = self.groups * -(-self.width // self.lanes)
        A = A.view(self.groups, self.width, self.d_state).mT.contiguous()  # (G, N, K)
        self.kept = (u, delta, A, B, C, D, bias)  # the structure holds bare pointers
        self.arguments = native.ScanArguments(
            batch, length, channels, self.groups, self.d_state,
            *(native.address(x) for x in self.kept),
            *u.stride()[:2], *delta.stride()[:2], *B.stride()[:3], *C.stride()[:3],
        )  # fmt: skip
        self.shape = (batch, length, channels)

    def forward(self, states: Tensor) -> Tensor:
        """Output ``(B, L, D)``; fills ``states``, if not empty, with those before every chunk."""
        y = native.empty(*self.shape)
        self.arguments.y = native.address(y)
        self.arguments.states = native.address(states) if states.numel() else None
        native.run("mambair_scan_forward", self.arguments)
        return y

    def backward(self, grad_y: Tensor, states: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs, in their order; float32."""
        batch, length, _ = self.shape
        grad_y = grad_y.float().contiguous()
        per_block = (batch, self.blocks)
        parts = {
            "grad_u": native.empty(*self.shape),
            "grad_delta": native.empty(*self.shape),
            "grad_B": native.empty(*per_block, length, self.d_state),
            "grad_C": native.empty(*per_block, length, self.d_state),
            "grad_A": native.empty(*per_block, self.d_state, self.lanes),
            "grad_D": native.empty(*per_block, self.lanes),
            "grad_bias": native.empty(*per_block, self.lanes),
        }
        self.arguments.grad_y = native.address(grad_y)
        self.arguments.states = native.address(states)
        for name, tensor in parts.items():
            setattr(self.arguments, name, native.address(tensor))
        native.run("mambair_scan_backward", self.arguments)
        return (
            parts["grad_u"],
            parts["grad_delta"],
            self._channels(parts["grad_A"].sum(0).transpose(1, 2)),
            self._groups(parts["grad_B"]),
            self._groups(parts["grad_C"]),
            None if self.inputs.D is None else self._channels(parts["grad_D"].sum(0)),
            None if self.inputs.delta_bias is None else self._channels(parts["grad_bias"].sum(0)),
        )

    def _channels(self, x: Tensor) -> Tensor:
        """``(blocks, lanes, ...)`` to ``(D, ...)``, without the empty lanes of last blocks."""
        x = x.unflatten(0, (self.groups, -1)).flatten(1, 2)  # (G, lanes of the group, ...)
        return x[:, : self.width].flatten(0, 1)

    def _groups(self, x: Tensor) -> Tensor:
        """Parts ``(B, blocks, L, N)`` to sums ``(B, L, G, N)``."""
        return x.unflatten(1, (self.groups, -1)).sum(2).transpose(1, 2)


def _rows(x: Tensor) -> Tensor:
    """Float32, with unit stride in the last axis."""
    x = x.detach().float()
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()
