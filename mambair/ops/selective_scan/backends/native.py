"""Backend ``cpp``: the C++ scan for CPUs, forward and backward.

The channels of a bundle (16) ride in the lanes of a vector, with their states in registers. A task
is a segment of the tokens of a bundle, which continues where the one before stopped, so the result
does not depend on the number of threads. The forward pass keeps the state before every chunk
of tokens, and the backward pass recomputes a chunk from it.
"""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from torch import Tensor

from mambair.ops import native
from mambair.ops.selective_scan.backend import (
    ScanBackend,
    ScanInputs,
    ScanRequest,
    register_backend,
)


@register_backend
class NativeBackend(ScanBackend):
    """C++ scan; see the module's text."""

    name = "cpp"
    priority = 400

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
        bundles = groups * -(-(channels // groups) // native.LANES)
        return (batch, bundles, -(-length // native.CHUNK), d_state, native.LANES)

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
        self.bundles = self.groups * -(-self.width // self.lanes)
        A = A.view(self.groups, self.width, self.d_state).mT.contiguous()  # (G, N, K)
        self.kept = (u, delta, A, B, C, D, bias)  # the structure holds bare pointers
        names = ("u", "delta", "A", "B", "C", "D", "bias")
        pointers = dict(zip(names, map(native.address, self.kept), strict=True))
        strides = {
            f"{name}_{axis}": tensor.stride(number)
            for name, tensor in (("u", u), ("delta", delta), ("B", B), ("C", C))
            for number, axis in enumerate(("batch", "token", "group")[: tensor.ndim - 1])
        }
        self.arguments = native.ScanArguments(
            batch=batch, length=length, channels=channels, groups=self.groups,
            d_state=self.d_state, **pointers, **strides,
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
        per_bundle = (batch, self.bundles)
        gradients = {
            "grad_u": native.empty(*self.shape),
            "grad_delta": native.empty(*self.shape),
            "grad_B": native.empty(*per_bundle, length, self.d_state),
            "grad_C": native.empty(*per_bundle, length, self.d_state),
            "grad_A": native.empty(*per_bundle, self.d_state, self.lanes),
            "grad_D": native.empty(*per_bundle, self.lanes),
            "grad_bias": native.empty(*per_bundle, self.lanes),
        }
        self.arguments.grad_y = native.address(grad_y)
        self.arguments.states = native.address(states)
        for name, tensor in gradients.items():
            setattr(self.arguments, name, native.address(tensor))
        native.run("mambair_scan_backward", self.arguments)
        return (
            gradients["grad_u"],
            gradients["grad_delta"],
            self._channels(gradients["grad_A"].sum(0).transpose(1, 2)),
            self._groups(gradients["grad_B"]),
            self._groups(gradients["grad_C"]),
            None if self.inputs.D is None else self._channels(gradients["grad_D"].sum(0)),
            None
            if self.inputs.delta_bias is None
            else self._channels(gradients["grad_bias"].sum(0)),
        )

    def _channels(self, x: Tensor) -> Tensor:
        """``(bundles, lanes, …)`` to ``(D, …)``, without the empty lanes of last bundles."""
        lanes = rearrange(x, "(g bundles) lanes ... -> g (bundles lanes) ...", g=self.groups)
        return rearrange(lanes[:, : self.width], "g width ... -> (g width) ...")

    def _groups(self, x: Tensor) -> Tensor:
        """Sums the gradients of bundles ``(B, bundles, L, N)`` to ``(B, L, G, N)``."""
        return reduce(x, "b (g bundles) l n -> b l g n", "sum", g=self.groups)


def _rows(x: Tensor) -> Tensor:
    """Float32, with unit stride in the last axis."""
    x = x.detach().float()
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()
