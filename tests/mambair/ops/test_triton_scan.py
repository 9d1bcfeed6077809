"""The Triton scan: in Triton's interpreter, and compiled ahead of time for absent GPUs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
import torch

from mambair.ops import selective_scan, selective_scan_tokens
from mambair.ops.selective_scan import available_backends
from mambair.ops.selective_scan.backend import BACKENDS, ScanRequest, select_backend
from mambair.ops.selective_scan.backends import triton_scan
from tests.conftest import ROOT
from tests.mambair.ops import test_selective_scan as common

interpreter = pytest.importorskip("triton.runtime.interpreter")


@pytest.fixture
def whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the interpreter combine whole rows of a tile where it goes element by element.

    The kernels are the same, their combining function too; a case takes seconds, not minutes.
    """

    def scan_rows(self: Any, tensors: tuple[Any, ...]) -> list[Any]:
        types = [tensor.dtype for tensor in tensors]
        rows = [tensor.handle.data.copy().swapaxes(0, self.axis) for tensor in tensors]
        for i in range(1, len(rows[0])):
            before, now = (
                [self.to_tensor(x[k], dtype) for x, dtype in zip(rows, types, strict=True)]
                for k in (i - 1, i)
            )
            for x, combined in zip(rows, self.combine_fn.fn(*before, *now), strict=True):
                x[i] = combined.handle.data
        return [
            self.to_tensor(x.swapaxes(0, self.axis), dtype)
            for x, dtype in zip(rows, types, strict=True)
        ]

    monkeypatch.setattr(interpreter.ScanOps, "generic_scan", scan_rows)


@pytest.mark.parametrize("name", ["one", "small"])
def test_values_and_gradients_in_the_plain_interpreter(name: str) -> None:
    common.test_values_and_gradients(name, "triton")


@pytest.mark.parametrize("name", common.CASES)
def test_values_and_gradients(name: str, whole_rows: None) -> None:
    common.test_values_and_gradients(name, "triton")


@pytest.mark.parametrize(
    ("channels", "d_state", "length"), [(1, 1, 1), (17, 3, 64), (16, 64, 65), (5, 16, 130)]
)
def test_any_size_and_no_optional_arguments(
    channels: int, d_state: int, length: int, whole_rows: None
) -> None:
    torch.manual_seed(d_state)
    values = [
        torch.randn(2, length, channels), torch.randn(2, length, channels),
        -torch.rand(channels, d_state) * 3,
        torch.randn(2, length, d_state), torch.randn(2, length, d_state),
    ]  # fmt: skip
    results = {}
    for backend in ("triton", "reference"):
        inputs = [value.clone().requires_grad_() for value in values]
        y = selective_scan_tokens(*inputs, backend=backend)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        results[backend] = [y.detach(), *(x.grad for x in inputs)]
    for own, other in zip(results["triton"], results["reference"], strict=True):
        assert common.relative(own, other) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_keeps_a_float32_state(dtype: torch.dtype, whole_rows: None) -> None:
    case = common.golden_case("groups")
    low = {key: case[key].to(dtype).requires_grad_() for key in ("u", "delta", "B", "C")}
    high = {key: value.detach().float().requires_grad_() for key, value in low.items()}
    rest = {key: case[key] for key in ("A", "D", "delta_bias")}
    y = selective_scan(**low, **rest, backend="triton")
    expected = selective_scan(**high, **rest, backend="reference")
    assert y.dtype == dtype
    eps = torch.finfo(dtype).eps
    assert common.relative(y.detach().float(), expected.detach()) < eps
    y.backward(case["grad_y"].to(dtype))
    expected.backward(case["grad_y"].to(dtype).float())
    for key in low:
        assert low[key].grad.dtype == dtype
        assert common.relative(low[key].grad.float(), high[key].grad) < 2 * eps, key


def test_operator_is_well_behaved(whole_rows: None) -> None:
    common.test_operator_is_well_behaved("small", "triton")


def test_order_of_automatic_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton before mamba_ssm before torch on CUDA; C++ on CPUs; torch elsewhere."""
    monkeypatch.setattr(triton_scan, "_missing_reason", lambda device: None)
    mamba = BACKENDS["mamba_ssm"]
    monkeypatch.setattr(type(mamba), "unavailable_reason", lambda self, request: None)

    def order(device: str, backends: dict[str, Any]) -> list[str]:
        chosen = []
        while backends:
            name = select_backend(backends, "auto", ScanRequest(device)).name
            chosen.append(name)
            if name == "torch":
                break
            backends = {key: value for key, value in backends.items() if key != name}
        return chosen

    assert order("cuda", dict(BACKENDS)) == ["triton", "mamba_ssm", "torch"]
    without = {key: value for key, value in BACKENDS.items() if key != "mamba_ssm"}
    assert order("xpu", without) == ["triton", "torch"]
    assert order("mps", without) == ["torch"]
    assert order("cpu", without)[-1] == "torch"
    assert "triton" not in order("cpu", without)


def test_results_lie_in_memory_as_compilers_are_told(whole_rows: None) -> None:
    common.test_results_lie_in_memory_as_compilers_are_told("groups", "triton")


def test_machines_that_triton_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    triton_scan._missing_reason.cache_clear()
    monkeypatch.setattr(triton_scan.shutil, "which", lambda name: None)
    assert "C compiler" in str(BACKENDS["triton"].unavailable_reason(ScanRequest("xpu")))
    triton_scan._missing_reason.cache_clear()
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    assert "capability 7.0" in str(BACKENDS["triton"].unavailable_reason(ScanRequest("cuda")))
    triton_scan._missing_reason.cache_clear()


def test_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    triton = BACKENDS["triton"]
    assert "float32" in str(triton.unavailable_reason(ScanRequest("cuda", torch.float64)))
    assert "up to 64" in str(triton.unavailable_reason(ScanRequest("cuda", d_state=65)))
    assert "NVIDIA" in str(triton.unavailable_reason(ScanRequest("mps")))
    monkeypatch.delenv("TRITON_INTERPRET")
    assert available_backends("cpu")["triton"] == "it runs on GPUs"


@pytest.mark.skipif(sys.platform != "linux", reason="Triton's assembler comes on Linux")
def test_compiles_ahead_of_time_without_spills() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    printed = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "triton_registers.py"), "sm_80", "sm_90"],
        capture_output=True, text=True, check=True, env=environment, timeout=300,
    ).stdout  # fmt: skip
    spilled = re.findall(r"\d+ \((\d+)\)", printed)
    assert len(spilled) == 4 * 2 * 3, printed
    assert set(spilled) == {"0"}, printed
