r"""One direction of a scan as an explicit sum over tokens.

Written out, the recurrence is :math:`y_i = \sum_{j \le i} M_{ij} u_j + D u_i` with one number for
every channel e,

.. math::
    M_{ij}^e = \sum_n C_{in} \, e^{A_{en} (S_{ie} - S_{je})} \, \delta_{je} B_{jn},
    \qquad S_{ie} = \sum_{k \le i} \delta_{ke},

because a product of decays is the exponential of a sum of steps. All exponents are at most 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from mambair.findings.recording import RecordedScan
from mambair.ops import selective_scan_tokens

_AT_ONCE = 1 << 23  # numbers of a temporary tensor


@dataclass(frozen=True)
class Recurrence:
    """The tensors of a scan in one direction.

    Attributes:
        u: input, ``(L, E)``.
        raw_delta: steps before the softplus, with their bias, ``(L, E)``.
        A: state matrix, ``(E, N)``.
        B: input matrix, ``(L, N)``.
        C: output matrix without the prompt, ``(L, N)``.
        D: skip weight, ``(E,)``.
        prompt: addition to C, ``(L, N)``; zeros where the network has none.
        delta_of_u: derivative of ``raw_delta``, ``(E, E)``.
        B_of_u: derivative of B, ``(N, E)``.
    """

    u: Tensor
    raw_delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    prompt: Tensor
    delta_of_u: Tensor
    B_of_u: Tensor

    @cached_property
    def delta(self) -> Tensor:
        """The steps, ``(L, E)``."""
        return F.softplus(self.raw_delta)

    @cached_property
    def steps(self) -> Tensor:
        """S, the sum of the steps up to every token, ``(L, E)``."""
        return self.delta.double().cumsum(dim=0).to(self.delta.dtype)

    @cached_property
    def states(self) -> Tensor:
        """h, the state after every token, ``(L, E, N)``."""
        length, d_state = self.B.shape
        # Every batch element has a C that picks another state.
        picks = torch.eye(d_state, dtype=self.u.dtype, device=self.u.device)
        h = selective_scan_tokens(
            self.u.expand(d_state, *self.u.shape),
            self.raw_delta.expand(d_state, *self.u.shape),
            self.A,
            self.B.expand(d_state, length, d_state),
            picks[:, None].expand(d_state, length, d_state),
        )
        return h.permute(1, 2, 0)

    def decays(self, i: int, places: Tensor | slice) -> Tensor:
        """The products of decays from tokens at places up to i, to token i.

        Returns:
            ``(J, E, N)``, in (0, 1].
        """
        return torch.exp((self.steps[i] - self.steps[places])[:, :, None] * self.A)

    def weights(self, i: int, query: Tensor) -> Tensor:
        """Row i of M: the weights with which token i sums the tokens up to itself.

        Args:
            i: place of the token.
            query: what stands for ``C_i``, ``(N,)``.

        Returns:
            ``(i + 1, E)``.
        """
        rows, size = [], max(_AT_ONCE // self.A.numel(), 1)
        for start in range(0, i + 1, size):
            part = slice(start, min(start + size, i + 1))
            sums = torch.einsum("jn,jen->je", query * self.B[part], self.decays(i, part))
            rows.append(sums * self.delta[part])
        return torch.cat(rows)

    def matrices(self, *queries: Tensor, channels: slice = slice(None)) -> list[Tensor]:
        """M, the lower triangular masked product of C, decays and B; linear in C.

        Args:
            queries: what stands for C, ``(L, N)`` each: ``C``, ``prompt``, or their sum.
            channels: those whose matrices are wanted, E of them.

        Returns:
            ``(E, L, L)`` each; their memory grows with the square of L.
        """
        length = len(self.u)
        steps, A = self.steps.T[channels], self.A[channels]
        # (E, i, j); the mask comes before the exponential, which would overflow above the diagonal
        between = steps[:, :, None] - steps[:, None, :]
        later = torch.ones(length, length, dtype=torch.bool, device=self.u.device).triu(1)
        between = between.masked_fill(later, torch.inf)
        results = [self.u.new_zeros(len(steps), length, length) for _ in queries]
        for n in range(A.shape[1]):
            answers = torch.exp(between * A[:, n, None, None]) * self.B[:, n]
            for query, result in zip(queries, results, strict=True):
                result.addcmul_(query[:, n, None], answers)
        return [result.mul_(self.delta.T[channels, None, :]) for result in results]

    def jacobian_norms(self, i: int, places: Tensor) -> Tensor:
        r"""The exact influence of tokens before i: :math:`\|\partial y_i/\partial u_j\|_F`.

        A token acts as u, through its step and through its B; all three are differentiated. (Its
        C acts on itself alone.)

        Args:
            i: place of the token that is influenced.
            places: places j before i, ``(J,)``.

        Returns:
            ``(J,)``.
        """
        weighted = (self.C + self.prompt)[i] * self.decays(i, places)  # (J, E, N)
        delta, u, B = self.delta[places, :, None], self.u[places, :, None], self.B[places, None]
        decayed = self.states[places] - delta * B * u
        slope = torch.sigmoid(self.raw_delta[places])  # of the softplus
        by_step = (weighted * (self.A * decayed + B * u)).sum(dim=2) * slope
        by_u = (weighted * delta * B).sum(dim=2)
        jacobian = by_step[:, :, None] * self.delta_of_u  # (J, E, E)
        jacobian += (weighted * delta * u) @ self.B_of_u
        jacobian += torch.diag_embed(by_u)
        norms: Tensor = torch.linalg.matrix_norm(jacobian)
        return norms


def recurrence_of(
    scan: RecordedScan,
    direction: int = 0,
    raster: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Recurrence:
    """The recurrence of a recorded scan.

    Args:
        scan: the scan.
        direction: which of its directions.
        raster: the same tokens as if they had been scanned in raster order; the prompts, which
            belong to places, stay.
        dtype: float32, or float64 for comparisons.
    """
    ssm = scan.ssm
    tokens = scan.in_raster_order(scan.tokens) if raster else scan.tokens
    channels, d_state = tokens.shape[2], ssm.d_state
    of_direction = slice(direction * channels, (direction + 1) * channels)
    with torch.no_grad():
        inputs = ssm.scan_inputs(tokens[None])
        bias = inputs.delta_bias
        assert bias is not None and inputs.D is not None
        # Steps and B are linear in a token, so the unit tokens give their derivatives.
        units = torch.eye(channels, dtype=tokens.dtype, device=tokens.device)
        units = units[None, :, None].expand(1, channels, tokens.shape[1], channels)
        linear = ssm.scan_inputs(units)
        B, C = inputs.B[0, :, direction], inputs.C[0, :, direction]
        delta = inputs.delta[0, :, of_direction].to(dtype) + bias[of_direction].to(dtype)
        prompt = C.new_zeros(len(C), d_state) if scan.prompt is None else scan.prompt
        return Recurrence(
            u=tokens[:, direction].to(dtype),
            raw_delta=delta,
            A=inputs.A[of_direction].to(dtype),
            B=B.to(dtype),
            C=C.to(dtype),
            D=inputs.D[of_direction].to(dtype),
            prompt=prompt.to(dtype),
            delta_of_u=linear.delta[0, :, of_direction].T.to(dtype),
            B_of_u=linear.B[0, :, direction].T.to(dtype),
        )
