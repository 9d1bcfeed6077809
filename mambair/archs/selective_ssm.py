"""Parameters of a selective state-space model and its scan, in one direction or several."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambair.ops import selective_scan_tokens
from mambair.ops.selective_scan import ScanInputs, backend_names


class SelectiveSSM(nn.Module):
    """A selective state-space model (Mamba, arXiv 2312.00752, Algorithm 2) over K directions.

    MambaIR scans in K = 4 directions, each with parameters of its own; MambaIRv2 in one, and keeps
    the leading axis in its state dict.

    Args:
        dim: channels E of the scan.
        d_state: state size N.
        dt_rank: rank R of the step-size projection.
        directions: K.
    """

    def __init__(self, dim: int, d_state: int, dt_rank: int, directions: int = 1) -> None:
        super().__init__()
        self.d_state = d_state
        self.dt_rank = dt_rank
        self.backend = "auto"
        self.x_proj_weight = nn.Parameter(torch.empty(directions, dt_rank + 2 * d_state, dim))
        self.dt_projs_weight = nn.Parameter(torch.empty(directions, dim, dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(directions, dim))
        self.A_logs = nn.Parameter(torch.empty(directions * dim, d_state))
        self.Ds = nn.Parameter(torch.ones(directions * dim))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialization of Mamba: steps log-uniform in [1e-3, 1e-1], A = −(1, …, N)."""
        dim = self.x_proj_weight.shape[2]
        nn.init.uniform_(self.x_proj_weight, -(dim**-0.5), dim**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        low, high = math.log(1e-3), math.log(1e-1)
        draws = torch.rand(self.dt_projs_bias.shape)
        step = torch.exp(draws * (high - low) + low).clamp_(min=1e-4)
        self.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))  # inverse softplus
        self.A_logs.copy_(torch.arange(1, self.d_state + 1).float().log().expand_as(self.A_logs))
        nn.init.ones_(self.Ds)

    def scan(self, x: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Scans tokens along L, every direction by itself.

        Args:
            x: ``(B, L, K, E)``, in the order of the scan.
            prompt: added to the output matrix, ``(B, L, K, N)``.

        Returns:
            ``(B, L, K, E)``.
        """
        y = selective_scan_tokens(*self.scan_inputs(x, prompt), backend=self.backend)
        return y.view_as(x)

    def scan_inputs(self, x: Tensor, prompt: Tensor | None = None) -> ScanInputs:
        """The arguments of the scan; those of :meth:`scan`.

        Returns:
            ``u`` and ``delta`` ``(B, L, K·E)``, ``B`` and ``C`` ``(B, L, K, N)``, and parameters.
        """
        projected = _project(x, self.x_proj_weight)  # (B, L, K, R + 2N)
        delta, B, C = torch.split(projected, [self.dt_rank, self.d_state, self.d_state], dim=-1)
        return ScanInputs(
            x.flatten(2),
            _project(delta, self.dt_projs_weight).flatten(2),
            -torch.exp(self.A_logs.float()),
            B,
            C if prompt is None else C + prompt.to(C.dtype),
            self.Ds.float(),
            self.dt_projs_bias.flatten().float(),
        )


def _project(x: Tensor, weight: Tensor) -> Tensor:
    """``(B, L, K, I)`` by ``(K, O, I)``, every direction by its own matrix: ``(B, L, K, O)``."""
    if weight.shape[0] == 1:
        return F.linear(x, weight[0])
    return torch.einsum("blki,koi->blko", x, weight)


class ScanNetwork(nn.Module):
    """A network whose blocks scan; the base of every frame of such blocks."""

    def set_scan_backend(self, backend: str) -> None:
        """Changes the backend of the selective scan in every block.

        Args:
            backend: ``"auto"`` or a name, see :func:`mambair.ops.selective_scan`.

        Raises:
            ValueError: no such backend.
        """
        if backend not in ("auto", *backend_names()):
            names = ["auto", *backend_names()]
            raise ValueError(f"scan_backend must be one of {names}, got {backend!r}")
        for module in self.modules():
            if isinstance(module, SelectiveSSM):
                module.backend = backend
