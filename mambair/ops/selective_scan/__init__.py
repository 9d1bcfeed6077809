r"""The selective scan of Mamba (Gu & Dao, 2023, arXiv 2312.00752, Algorithm 2).

For every batch element and channel, with :math:`\delta = \mathrm{softplus}(\Delta + \text{bias})`,

.. math::
    h_t = \exp(\delta_t A) \odot h_{t-1} + \delta_t B_t u_t, \qquad
    y_t = \langle h_t, C_t \rangle + D u_t .

Two entries share the backends: :func:`selective_scan` in the channel-major layout of
``mamba_ssm``, and :func:`selective_scan_tokens` in the layout the networks already have.
A backend is one file: a :class:`~.backend.ScanBackend` under :func:`~.backend.register_backend`,
in ``backends/`` or in any module that a program imports.
"""

from __future__ import annotations

import importlib
import pkgutil

import torch
from torch import Tensor

from mambair.ops.selective_scan import backends
from mambair.ops.selective_scan.backend import (
    BACKENDS,
    BackendUnavailableError,
    ScanBackend,
    ScanInputs,
    ScanRequest,
    register_backend,
)
from mambair.ops.selective_scan.operator import differentiable_scan, select

__all__ = [
    "BackendUnavailableError",
    "ScanBackend",
    "ScanInputs",
    "ScanRequest",
    "available_backends",
    "backend_names",
    "register_backend",
    "select_automatic",
    "selective_scan",
    "selective_scan_tokens",
]

for _module in pkgutil.iter_modules(backends.__path__, f"{backends.__name__}."):
    importlib.import_module(_module.name)


def available_backends(device: str = "cpu") -> dict[str, str | None]:
    """Says of every backend why it cannot run on ``device``.

    Returns:
        Maps backend names to reasons; ``None`` means "can run". In the order of preference of
        ``"auto"``, which chooses the first that can run and is not ``"reference"``.
    """
    request = ScanRequest(device)
    return {name: backend.unavailable_reason(request) for name, backend in BACKENDS.items()}


def backend_names() -> list[str]:
    """The values of ``backend`` in addition to ``"auto"``."""
    return list(BACKENDS)


def select_automatic(
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    d_state: int = 1,
    in_operator: bool = False,
) -> str:
    """Returns the name of the backend that ``"auto"`` means.

    Args:
        device: device type.
        dtype: dtype of the state, float32 or float64.
        d_state: state size N.
        in_operator: as in a compiled program, which accepts only backends that have a backward pass
            of their own.
    """
    return select("auto", ScanRequest(device, dtype, d_state), in_operator).name


# All that torch.compiler.assume_constant_result does; calling that imports torch._dynamo, which
# takes longer than everything else here.
select_automatic._dynamo_marked_constant = True  # type: ignore[attr-defined]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    backend: str = "auto",
) -> Tensor:
    """Selective scan in the channel-major layout of ``mamba_ssm``.

    Args:
        u: input, ``(B, D, L)``.
        delta: step size before bias and softplus, ``(B, D, L)``.
        A: state matrix (negative for a stable scan), ``(D, N)``.
        B: input matrix, ``(B, G, N, L)``; group g serves channels ``[g·D/G, (g+1)·D/G)``.
        C: output matrix, ``(B, G, N, L)``.
        D: skip weight, ``(D,)``.
        delta_bias: added to ``delta`` before the softplus, ``(D,)``.
        backend: ``"auto"`` or the name of a backend, see :func:`available_backends`.

    Returns:
        ``(B, D, L)`` in the dtype of ``u``. The state is float32 whatever the dtype of the input
        (float64 for float64 input).

    Raises:
        ValueError: shapes that do not fit together, or an unknown backend.
        BackendUnavailableError: the backend asked for by name cannot run here.
    """
    if B.ndim != 4 or C.ndim != 4:
        raise ValueError(
            f"selective_scan: B and C must be (batch, groups, d_state, length), "
            f"got {tuple(B.shape)} and {tuple(C.shape)}"
        )
    y = selective_scan_tokens(
        u.transpose(1, 2),
        delta.transpose(1, 2),
        A,
        B.permute(0, 3, 1, 2),
        C.permute(0, 3, 1, 2),
        D,
        delta_bias,
        backend=backend,
    )
    return y.transpose(1, 2)


def selective_scan_tokens(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    backend: str = "auto",
) -> Tensor:
    """Selective scan in the token-major layout of the networks.

    The same as :func:`selective_scan` with ``u``, ``delta`` and the result ``(B, L, D)``, and
    ``B``, ``C`` either ``(B, L, G, N)`` or, for a single group, ``(B, L, N)``.
    """
    if B.ndim == 3:
        B = B.unsqueeze(2)
    if C.ndim == 3:
        C = C.unsqueeze(2)
    inputs = ScanInputs(u, delta, A, B, C, D, delta_bias)
    return differentiable_scan(inputs, backend)
