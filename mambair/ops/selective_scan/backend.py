"""Backends of the selective scan: their interface, registration and selection."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from mambair.errors import UserError

logger = logging.getLogger("mambair")


class BackendUnavailableError(UserError, RuntimeError):
    """A backend was asked for by name and cannot run on this machine or device."""


class ScanInputs(NamedTuple):
    """Arguments of a scan in token-major layout; any strides.

    ``u``, ``delta`` are ``(B, L, D)``, ``A`` is ``(D, N)``, ``B``, ``C`` are ``(B, L, G, N)``,
    ``D`` and ``delta_bias`` are ``(D,)`` or ``None``.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None

    def validate(self) -> None:
        """Raises ``ValueError`` naming the first argument whose shape does not fit."""
        if self.u.ndim != 3:
            raise ValueError(f"selective_scan: u must have 3 dimensions, got {self.u.ndim}")
        if self.u.shape[1] == 0:
            raise ValueError("selective_scan: u has no tokens")
        if self.A.ndim != 2:
            raise ValueError(f"selective_scan: A must be (channels, d_state), got {self.A.ndim}-d")
        batch, length, channels = self.u.shape
        d_state = self.A.shape[1]
        groups = self.B.shape[2] if self.B.ndim == 4 else 1
        expected = {
            "delta": (batch, length, channels),
            "A": (channels, d_state),
            "B": (batch, length, groups, d_state),
            "C": (batch, length, groups, d_state),
            "D": (channels,),
            "delta_bias": (channels,),
        }
        for name, shape in expected.items():
            tensor = getattr(self, name)
            if tensor is not None and tuple(tensor.shape) != shape:
                raise ValueError(
                    f"selective_scan: {name} is {tuple(tensor.shape)} where u {tuple(self.u.shape)}"
                    f" and A {tuple(self.A.shape)} ask for {shape} (token-major)"
                )
        if groups == 0 or channels % groups:
            raise ValueError(
                f"selective_scan: {channels} channels do not divide in {groups} groups"
            )

    @property
    def request(self) -> ScanRequest:
        """The requirements of these inputs on a backend."""
        return ScanRequest(self.u.device.type, self.compute_dtype, self.A.shape[1])

    @property
    def compute_dtype(self) -> torch.dtype:
        """Dtype of the state: float32, or float64 for float64 input."""
        return torch.float64 if self.u.dtype == torch.float64 else torch.float32


class ScanRequest(NamedTuple):
    """The requirements on a backend.

    Attributes:
        device: device type, "cpu", "cuda", ….
        dtype: dtype of the state, float32 or float64.
        d_state: state size N.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    d_state: int = 1


class ScanBackend(ABC):
    """One way to compute the scan.

    Attributes:
        name: name that users write.
        priority: "auto" takes the backend of the highest priority that can run. Those of this
            package have 100 (``torch``, which runs anywhere) to 400 (``cpp``); backends of the
            same priority are tried in the order in which they were registered.
        in_operator: whether it has a backward pass of its own and takes part in the operator;
            otherwise autograd differentiates what :meth:`forward` does.
    """

    name: ClassVar[str]
    priority: ClassVar[int]
    in_operator: ClassVar[bool] = True

    def automatic_on(self, device: str) -> bool:
        """Returns whether "auto" may choose it on a device type."""
        return True

    @abstractmethod
    def unavailable_reason(self, request: ScanRequest) -> str | None:
        """Returns the reason why this backend cannot run; ``None`` if it can."""

    def saved_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Shape of what :meth:`forward` saves for the backward pass."""
        return (0,)

    @abstractmethod
    def forward(self, inputs: ScanInputs, keep: bool) -> tuple[Tensor, Tensor]:
        """Scans valid inputs.

        Args:
            inputs: the inputs.
            keep: whether a backward pass will follow.

        Returns:
            The output ``(B, L, D)``, and one tensor of ``compute_dtype`` for the backward pass,
            empty without ``keep``.
        """

    def backward(
        self, inputs: ScanInputs, saved: Tensor, grad_y: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs, in their order; ``None`` for those that are ``None``."""
        raise NotImplementedError(f"autograd differentiates backend {self.name!r}")


BackendClass = TypeVar("BackendClass", bound=type[ScanBackend])

BACKENDS: dict[str, ScanBackend] = {}  # in the order in which "auto" tries them


def register_backend(cls: BackendClass) -> BackendClass:
    """Class decorator: adds a backend under its name.

    Raises:
        ValueError: the name is taken, or is "auto".
        TypeError: ``name`` or ``priority`` is missing.
    """
    name, priority = getattr(cls, "name", None), getattr(cls, "priority", None)
    if not isinstance(name, str) or not isinstance(priority, int):
        raise TypeError(f"{cls.__qualname__} of {cls.__module__} needs a name and a priority")
    other = BACKENDS.get(name)
    if name == "auto" or other is not None:
        owner = "" if other is None else f", of {type(other).__module__}"
        raise ValueError(f"{cls.__qualname__} of {cls.__module__}: {name!r} is taken{owner}")
    BACKENDS[name] = cls()
    ordered = sorted(BACKENDS.items(), key=lambda item: -item[1].priority)
    BACKENDS.clear()
    BACKENDS.update(ordered)
    return cls


def select_backend(
    backends: Mapping[str, ScanBackend], name: str, request: ScanRequest
) -> ScanBackend:
    """The backend of that name, or for ``"auto"`` the first that can run.

    Raises:
        ValueError: no backend has that name.
        BackendUnavailableError: it cannot run here; says why.
    """
    if name == "auto":
        return _automatic(tuple(backends.values()), request)
    if name not in backends:
        raise ValueError(
            f"selective_scan: backend {name!r} is unknown; choose one of: "
            f"{', '.join(['auto', *backends])}"
        )
    reason = backends[name].unavailable_reason(request)
    if reason is not None:
        raise BackendUnavailableError(
            f"selective_scan: backend {name!r} cannot run on {request.device}: {reason}"
        )
    return backends[name]


@lru_cache
def _automatic(candidates: tuple[ScanBackend, ...], request: ScanRequest) -> ScanBackend:
    """The first usable candidate."""
    refused: list[str] = []
    for candidate in candidates:
        if not candidate.automatic_on(request.device):
            continue
        reason = candidate.unavailable_reason(request)
        if reason is None:
            _announce(request.device, candidate.name, "; ".join(refused))
            return candidate
        refused.append(f"{candidate.name}: {reason}")
    raise BackendUnavailableError(
        f"selective_scan: no backend runs on {request.device}: {'; '.join(refused)}"
    )


_announced: set[tuple[str, str]] = set()


def _announce(device: str, name: str, refused: str) -> None:
    """Says once which backend runs, and why those before it do not."""
    if (device, name) in _announced:
        return
    _announced.add((device, name))
    logger.info(
        "Selective scan on %s: backend %r%s.", device, name, f" ({refused})" * bool(refused)
    )
