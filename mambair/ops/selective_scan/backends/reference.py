"""The recurrence as it is written, one step for each token: slow, but the reference for tests."""

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


@register_backend
class ReferenceBackend(ScanBackend):
    """Plain loop over the tokens, differentiated by autograd, holds ``(L, B, D, N)``."""

    name = "reference"
    priority = 0
    in_operator = False

    def automatic_on(self, device: str) -> bool:
        """It is for tests."""
        return False

    def unavailable_reason(self, request: ScanRequest) -> str | None:
        return None

    def forward(self, inputs: ScanInputs, keep: bool) -> tuple[Tensor, Tensor]:
        """The scan, step by step, in the autograd graph."""
        return self.recurrence(inputs), torch.empty(0)

    @staticmethod
    def recurrence(inputs: ScanInputs) -> Tensor:
        """The scan, step by step, in the autograd graph."""
        dtype = inputs.compute_dtype
        u, delta, A, B, C = (x.to(dtype) for x in inputs[:5])
        if inputs.delta_bias is not None:
            delta = delta + inputs.delta_bias.to(dtype)
        delta = F.softplus(delta)  # (B, L, D)
        channels_per_group = u.shape[2] // B.shape[2]
        B = B.repeat_interleave(channels_per_group, dim=2)  # (B, L, D, N)
        C = C.repeat_interleave(channels_per_group, dim=2)  # (B, L, D, N)

        state = u.new_zeros(u.shape[0], *A.shape)  # (B, D, N)
        outputs = []
        for t in range(u.shape[1]):
            step = delta[:, t, :, None]
            state = torch.exp(step * A) * state + step * B[:, t] * u[:, t, :, None]
            outputs.append((state * C[:, t]).sum(-1))
        y = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(u)
        if inputs.D is not None:
            y = y + inputs.D.to(dtype) * u
        return y.to(inputs.u.dtype)
