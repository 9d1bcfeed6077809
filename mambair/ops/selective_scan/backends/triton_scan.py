"""Backend ``triton``: the scan for GPUs of NVIDIA, AMD and Intel, forward and backward.

Triton comes with PyTorch's builds for GPUs and compiles the kernels for the device when they first
run; nothing is built at installation. Chunks of tokens run in parallel, and the backward pass
recomputes a chunk from the state it began with.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from einops import reduce
from torch import Tensor

from mambair.ops.selective_scan.backend import (
    ScanBackend,
    ScanInputs,
    ScanRequest,
    register_backend,
)

CHUNK = 64  # tokens of a program
BUNDLE = 16  # channels of a program
_MAX_STATES = 64
_LEAST_CAPABILITY = (7, 0)  # of Triton, on NVIDIA
WARPS = 4  # of a program


@register_backend
class TritonBackend(ScanBackend):
    """Triton scan; see the module's text."""

    name = "triton"
    priority = 300

    def automatic_on(self, device: str) -> bool:
        """Not in the interpreter."""
        return device != "cpu"

    def unavailable_reason(self, request: ScanRequest) -> str | None:
        """Runs where Triton does, in float32; on CPUs only in Triton's interpreter, for tests."""
        if request.device == "cpu":
            if not interpreted():
                return "it runs on GPUs"
        elif request.device not in ("cuda", "xpu"):  # "cuda" are AMD's too
            return "it runs on GPUs of NVIDIA, AMD and Intel"
        reason = _missing_reason(request.device)
        if reason is not None:
            return reason
        if request.dtype != torch.float32:
            return "it computes in float32"
        if request.d_state > _MAX_STATES:
            return f"it takes d_state up to {_MAX_STATES}, not {request.d_state}"
        return None

    def saved_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """The state before every chunk: ``(B, chunks, N, D)``."""
        batch, length, channels = inputs.u.shape
        return (batch, (length + CHUNK - 1) // CHUNK, inputs.A.shape[1], channels)

    def forward(self, inputs: ScanInputs, keep: bool) -> tuple[Tensor, Tensor]:
        """See :meth:`ScanBackend.forward`."""
        call = _Call(inputs)
        y = torch.empty(inputs.u.shape, dtype=inputs.u.dtype, device=inputs.u.device)
        states = call.running_states(call.inputs.u, call.inputs.B, backward=False)
        call.launch(
            call.kernels.scan_chunks,
            *call.tensors, states, y, *call.sizes, *call.strides,
            HAS_D=inputs.D is not None, HAS_BIAS=inputs.delta_bias is not None,
        )  # fmt: skip
        return y, states if keep else states.new_empty(0)

    def backward(
        self, inputs: ScanInputs, saved: Tensor, grad_y: Tensor
    ) -> tuple[Tensor | None, ...]:
        """See :meth:`ScanBackend.backward`."""
        call = _Call(inputs)
        u, D = inputs.u, inputs.D
        batch, length, channels = u.shape
        grad_y = grad_y.contiguous()
        adjoints = call.running_states(grad_y, call.inputs.C, backward=True)
        grad_A = torch.empty_like(saved)
        grad_u, grad_delta = (saved.new_empty(batch, length, channels) for _ in range(2))
        grad_B, grad_C = (
            saved.new_empty(batch, call.bundles, length, call.d_state) for _ in range(2)
        )
        call.launch(
            call.kernels.scan_chunks_backward,
            *call.tensors, saved, adjoints, grad_y, grad_u, grad_delta, grad_A, grad_B, grad_C,
            *call.sizes, *call.strides,
            HAS_D=D is not None, HAS_BIAS=inputs.delta_bias is not None,
        )  # fmt: skip

        def of_groups(of_bundles: Tensor) -> Tensor:
            return reduce(of_bundles, "b (g bundles) l n -> b l g n", "sum", g=call.groups)

        return (
            grad_u,
            grad_delta,
            grad_A.sum((0, 1)).T,
            of_groups(grad_B),
            of_groups(grad_C),
            None if D is None else (grad_y.float() * u.float()).sum((0, 1)),
            None if inputs.delta_bias is None else grad_delta.sum((0, 1)),
        )


@lru_cache
def _missing_reason(device: str) -> str | None:
    """The reason why Triton cannot compile here; determined once per process."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if device == "cuda" and torch.version.hip is None and torch.cuda.is_available():
        capability = torch.cuda.get_device_capability()
        if capability < _LEAST_CAPABILITY:
            return (
                f"Triton needs compute capability 7.0, the GPU has {'.'.join(map(str, capability))}"
            )
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    if (
        device != "cpu"
        and sys.platform == "linux"
        and not any(map(shutil.which, filter(None, compilers)))
    ):
        return "Triton needs a C compiler to launch its kernels, and there is none"
    return None


def interpreted() -> bool:
    """Returns whether Triton's interpreter replaces a GPU (``TRITON_INTERPRET=1``)."""
    return os.environ.get("TRITON_INTERPRET", "") == "1"


class _Call:
    """Arguments that the kernels of one call share."""

    def __init__(self, inputs: ScanInputs) -> None:
        self.kernels = _load_kernels()
        # The innermost stride is 1 in the kernels.
        tensors = [x if x is None or x.stride(-1) == 1 else x.contiguous() for x in inputs]
        self.inputs = ScanInputs(*tensors)  # type: ignore[arg-type]
        u, delta, A, B, C, D, bias = self.inputs
        self.batch, self.length, self.channels = u.shape
        self.groups, self.d_state = B.shape[2], A.shape[1]
        self.width = self.channels // self.groups
        self.chunks = (self.length + CHUNK - 1) // CHUNK
        self.bundles = self.groups * -(-self.width // BUNDLE)
        self.rates = A.float().T.contiguous()  # (N, D)
        # A kernel reads neither of these two without HAS_D or HAS_BIAS.
        D = self.rates if D is None else D.float().contiguous()
        self.bias = self.rates if bias is None else bias.float().contiguous()
        self.tensors = (u, delta, self.rates, B, C, D, self.bias)
        self.sizes = (self.length, self.width, self.channels, self.d_state, self.chunks)
        self.strides = (*u.stride()[:2], *delta.stride()[:2], *B.stride()[:3], *C.stride()[:3])

    def running_states(self, source: Tensor, matrix: Tensor, backward: bool) -> Tensor:
        """The state (``backward``: the adjoint state) that every chunk begins with."""
        shape = (self.batch, self.chunks, self.d_state, self.channels)
        states = torch.empty(shape, dtype=torch.float32, device=source.device)
        totals = torch.empty(
            self.batch, self.chunks, self.channels, dtype=torch.float32, device=source.device
        )
        delta = self.inputs.delta
        self.launch(
            self.kernels.summarize_chunks,
            source, delta, self.rates, matrix, self.bias, states, totals, *self.sizes,
            *source.stride()[:2], *delta.stride()[:2], *matrix.stride()[:3],
            HAS_BIAS=self.inputs.delta_bias is not None, BACKWARD=backward,
        )  # fmt: skip
        with _on(source.device):
            self.kernels.carry_states[(-(-self.channels // BUNDLE), self.batch)](
                states, totals, self.rates, self.channels, self.d_state, self.chunks,
                REVERSE=backward, STATES=self.kernels.triton.next_power_of_2(self.d_state),
                BUNDLE=BUNDLE, num_warps=WARPS,
            )  # fmt: skip
        return states

    def launch(self, kernel: Any, *arguments: Any, **constants: Any) -> None:
        """One program for every chunk, bundle of channels and batch element."""
        with _on(self.inputs.u.device):
            kernel[(self.chunks, self.bundles, self.batch)](
                *arguments, **constants, T=CHUNK, BUNDLE=BUNDLE, num_warps=WARPS
            )


def _load_kernels() -> ModuleType:
    """The kernels; Triton is imported only where it is used."""
    from mambair.ops.selective_scan import triton_kernels

    return triton_kernels


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    if device.type == "cpu":
        return nullcontext()
    context: AbstractContextManager[Any] = torch.get_device_module(device).device(device)
    return context
