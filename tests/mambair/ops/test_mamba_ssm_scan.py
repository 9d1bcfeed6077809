"""The mamba_ssm backend, with a stand-in for the package that runs on CPUs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from mambair.ops import selective_scan
from mambair.ops.selective_scan.backend import BACKENDS, ScanRequest
from mambair.ops.selective_scan.backends import mamba_ssm_scan
from tests.mambair.ops import test_selective_scan as common


def selective_scan_fn(
    u: torch.Tensor, delta: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor,
    D: torch.Tensor | None = None, z: None = None, delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False, return_last_state: bool = False,
) -> torch.Tensor:  # fmt: skip
    """The package's function: channel-major, one dtype, contiguous, CUDA only."""
    assert delta_softplus and z is None and not return_last_state
    assert u.dtype == delta.dtype == B.dtype == C.dtype
    assert all(x.is_contiguous() for x in (u, delta, A, B, C))
    return selective_scan(u, delta, A, B, C, D, delta_bias, backend="reference")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module: Any = ModuleType(mamba_ssm_scan._INTERFACE)
    module.selective_scan_fn = selective_scan_fn
    monkeypatch.setitem(sys.modules, "mamba_ssm", ModuleType("mamba_ssm"))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", ModuleType("mamba_ssm.ops"))
    monkeypatch.setitem(sys.modules, mamba_ssm_scan._INTERFACE, module)
    mamba_ssm_scan._import_error.cache_clear()
    yield
    mamba_ssm_scan._import_error.cache_clear()


def test_is_refused_without_the_package_and_off_cuda() -> None:
    mamba_ssm_scan._import_error.cache_clear()
    backend = BACKENDS["mamba_ssm"]
    assert backend.unavailable_reason(ScanRequest("cpu")) == "it runs on CUDA"
    if "mamba_ssm" not in sys.modules:
        assert "cannot be imported" in str(backend.unavailable_reason(ScanRequest("cuda")))
    assert "float32" in str(backend.unavailable_reason(ScanRequest("cuda", torch.float64)))


@pytest.mark.parametrize("name", ["batch", "groups", "small"])
def test_values_and_gradients(name: str, package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = BACKENDS["mamba_ssm"]
    assert backend.unavailable_reason(ScanRequest("cuda")) is None
    monkeypatch.setattr(type(backend), "unavailable_reason", lambda self, request: None)
    common.test_values_and_gradients(name, "mamba_ssm")
