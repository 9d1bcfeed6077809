"""The scan as an operator of PyTorch: one for all backends, opaque to compilers, differentiable.

``torch.compile`` and ``torch.export`` see ``mambair::selective_scan`` as one node; which backend
runs is decided when it is executed (or, for the shapes, when it is traced).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mambair.ops.selective_scan.backend import (
    BACKENDS,
    ScanBackend,
    ScanInputs,
    ScanRequest,
    select_backend,
)

_INPUTS = "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias"


def _choose(backend: str, inputs: ScanInputs, in_operator: bool = True) -> ScanBackend:
    """The backend to run; ``in_operator``: only one that takes part in the operator."""
    inputs.validate()
    return select(backend, inputs.request, in_operator)


def select(backend: str, request: ScanRequest, in_operator: bool) -> ScanBackend:
    """The registered backend of that name, or for ``"auto"`` the first that can run.

    Args:
        backend: ``"auto"`` or a name.
        request: requirements on the backend.
        in_operator: leaves out those that do not take part in the operator.
    """
    candidates = {k: v for k, v in BACKENDS.items() if v.in_operator or not in_operator}
    return select_backend(candidates, backend, request)


@torch.library.custom_op(
    "mambair::selective_scan",
    mutates_args=(),
    schema=f"({_INPUTS}, str backend, bool keep) -> (Tensor, Tensor)",
)
def scan(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Output ``(B, L, D)`` and, with ``keep``, what the backward pass of the backend needs."""
    *tensors, backend, keep = arguments
    inputs = ScanInputs(*tensors)
    # The computation has the dtypes it names, whatever the caller's autocast says.
    with torch.autocast(inputs.u.device.type, enabled=False):
        y, saved = _choose(backend, inputs).forward(inputs, keep)
    return y.to(inputs.u.dtype).contiguous(), saved


@scan.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor]:
    *tensors, backend, keep = arguments
    inputs = ScanInputs(*tensors)
    shape = _choose(backend, inputs).saved_shape(inputs) if keep else (0,)
    saved = inputs.u.new_empty(shape, dtype=inputs.compute_dtype)
    return inputs.u.new_empty(inputs.u.shape), saved


@torch.library.custom_op(
    "mambair::selective_scan_backward",
    mutates_args=(),
    schema=f"(Tensor grad_y, Tensor saved, {_INPUTS}, str backend) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def scan_backward(grad_y: Tensor, saved: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Gradients of the inputs, in their order; empty for those that are ``None``."""
    *tensors, backend = arguments
    inputs = ScanInputs(*tensors)
    with torch.autocast(inputs.u.device.type, enabled=False):
        gradients = _choose(backend, inputs).backward(inputs, saved, grad_y)
    return tuple(
        grad_y.new_empty(0)
        if tensor is None or gradient is None
        else gradient.to(tensor.dtype).contiguous()  # as the fake implementation says
        for tensor, gradient in zip(inputs, gradients, strict=True)
    )


@scan_backward.register_fake
def _(grad_y: Tensor, saved: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *tensors, _ = arguments
    return tuple(grad_y.new_empty(0) if x is None else x.new_empty(x.shape) for x in tensors)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.backend, _ = inputs
    ctx.save_for_backward(*tensors, output[1])
    ctx.mark_non_differentiable(output[1])


def _autograd_backward(ctx: Any, grad_y: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    *tensors, saved = ctx.saved_tensors
    gradients = scan_backward(grad_y, saved, *tensors, ctx.backend)
    present = [None if x is None else g for x, g in zip(tensors, gradients, strict=True)]
    return (*present, None, None)


scan.register_autograd(_autograd_backward, setup_context=_setup_context)


def differentiable_scan(inputs: ScanInputs, backend: str) -> Tensor:
    """The scan by a backend's name, as part of the autograd graph if an input is."""
    if _differentiates_itself(backend, inputs):
        with torch.autocast(inputs.u.device.type, enabled=False):
            chosen = _choose(backend, inputs, in_operator=False)
            return chosen.forward(inputs, keep=False)[0].to(inputs.u.dtype)
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    y: Tensor = scan(*inputs, backend, keep)[0]
    return y


def _differentiates_itself(backend: str, inputs: ScanInputs) -> bool:
    if backend in BACKENDS:
        return not BACKENDS[backend].in_operator
    if torch.compiler.is_compiling():  # which needs the operator
        return False
    return not _choose(backend, inputs, in_operator=False).in_operator
