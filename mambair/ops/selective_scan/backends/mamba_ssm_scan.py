"""Backend ``mamba_ssm``: the CUDA kernel of the package mamba-ssm, where it can be imported."""

from __future__ import annotations

import importlib
from functools import lru_cache

import torch
from torch import Tensor

from mambair.ops.selective_scan.backend import (
    ScanBackend,
    ScanInputs,
    ScanRequest,
    register_backend,
)

_INTERFACE = "mamba_ssm.ops.selective_scan_interface"


@register_backend
class MambaSsmBackend(ScanBackend):
    """``selective_scan_fn`` of mamba-ssm, with its own gradient."""

    name = "mamba_ssm"
    priority = 200
    in_operator = False

    def unavailable_reason(self, request: ScanRequest) -> str | None:
        """Runs on CUDA, in float32, where mamba-ssm can be imported."""
        if request.device != "cuda":
            return "it runs on CUDA"
        if request.dtype != torch.float32:
            return "it computes in float32"
        return _import_error()

    def forward(self, inputs: ScanInputs, keep: bool) -> tuple[Tensor, Tensor]:
        """See :meth:`ScanBackend.forward`."""
        return _scan(inputs), inputs.u.new_empty(0)


@lru_cache
def _import_error() -> str | None:
    """The reason why mamba-ssm's scan cannot be used; ``None`` if it can."""
    try:
        importlib.import_module(_INTERFACE).selective_scan_fn  # noqa: B018
    except Exception as error:  # a build for another torch fails in many ways
        return f"mamba-ssm cannot be imported ({type(error).__name__}: {error})"
    return None


def _scan(inputs: ScanInputs) -> Tensor:
    """The package's function takes channel-major tensors of one dtype, and float32 parameters."""
    u, delta, A, B, C, D, bias = inputs
    y: Tensor = importlib.import_module(_INTERFACE).selective_scan_fn(
        u.transpose(1, 2).contiguous(),
        delta.to(u.dtype).transpose(1, 2).contiguous(),
        A.float().contiguous(),
        B.to(u.dtype).permute(0, 2, 3, 1).contiguous(),
        C.to(u.dtype).permute(0, 2, 3, 1).contiguous(),
        None if D is None else D.float().contiguous(),
        delta_bias=None if bias is None else bias.float().contiguous(),
        delta_softplus=True,
    )
    return y.transpose(1, 2)
