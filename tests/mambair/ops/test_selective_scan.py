"""The scan against values and gradients computed in float64 by a plain recurrence."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from mambair.ops import native, selective_scan, selective_scan_tokens
from mambair.ops.selective_scan import (
    BackendUnavailableError,
    available_backends,
    select_automatic,
)
from mambair.ops.selective_scan.backend import (
    BACKENDS as REGISTERED,
)
from mambair.ops.selective_scan.backend import (
    ScanBackend,
    ScanRequest,
    register_backend,
    select_backend,
)
from mambair.ops.selective_scan.operator import scan, scan_backward
from tests.conftest import GOLDEN

ARGUMENTS = ("u", "delta", "A", "B", "C", "D", "delta_bias")
CASES = ("batch", "extreme", "groups", "long", "one", "small", "wide")
# All that are registered and run here; Triton's has a file of its own.
BACKENDS = [
    name
    for name, reason in available_backends("cpu").items()
    if reason is None and name != "triton"
]
# Those that are operators of their own, with a backward pass.
OPERATORS = [name for name in BACKENDS if REGISTERED[name].in_operator]


def golden_case(name: str) -> dict[str, torch.Tensor]:
    with safe_open(GOLDEN / "selective_scan.safetensors", "pt") as file:
        keys = [key for key in file.keys() if key.startswith(f"{name}.")]  # noqa: SIM118
        return {key.partition(".")[2]: file.get_tensor(key) for key in keys}


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, backend: str) -> None:
    case = golden_case(name)
    inputs = {key: case[key].clone().requires_grad_() for key in ARGUMENTS}
    y = selective_scan(**inputs, backend=backend)
    y.backward(case["grad_y"])
    assert relative(y.detach(), case["y"]) < 1e-4
    for key in ARGUMENTS:
        gradient = inputs[key].grad
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert relative(gradient, case[f"grad_{key}"]) < 1e-3, key


@pytest.mark.parametrize("segment", [64, 500])
def test_chunk_borders_do_not_show(segment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chunked = sys.modules["mambair.ops.selective_scan.backends.chunked"]
    monkeypatch.setattr(chunked, "_SEGMENT_ELEMENTS", segment * 12 * 4)
    monkeypatch.setattr(chunked, "_STEP_ELEMENTS", 7 * 12 * 4)
    for name in ("groups", "long", "batch"):
        case = golden_case(name)
        inputs = {key: case[key].clone().requires_grad_() for key in ARGUMENTS}
        y = selective_scan(**inputs, backend="torch")
        y.backward(case["grad_y"])
        assert relative(y.detach(), case["y"]) < 1e-4
        for key in ARGUMENTS:
            assert relative(inputs[key].grad, case[f"grad_{key}"]) < 1e-3, (name, key)


def test_optional_arguments_and_token_layout() -> None:
    case = golden_case("batch")
    u, delta, A, B, C = (case[key] for key in ARGUMENTS[:5])
    expected = selective_scan(u, delta, A, B, C, backend="reference")
    assert relative(selective_scan(u, delta, A, B, C, backend="torch"), expected) < 1e-5
    tokens = selective_scan_tokens(
        u.transpose(1, 2), delta.transpose(1, 2), A, B[:, 0].mT, C[:, 0].mT, backend="torch"
    )
    assert relative(tokens.transpose(1, 2), expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_keeps_a_float32_state(dtype: torch.dtype) -> None:
    case = golden_case("long")
    low = {key: case[key].to(dtype) for key in ("u", "delta", "B", "C")}
    high = {key: value.float() for key, value in low.items()}
    rest = {key: case[key] for key in ("A", "D", "delta_bias")}
    y = selective_scan(**low, **rest, backend="torch")
    assert y.dtype == dtype
    expected = selective_scan(**high, **rest, backend="reference")
    # only the result is rounded
    assert relative(y.float(), expected) < torch.finfo(dtype).eps


@pytest.mark.parametrize("backend", ["torch", "cpp"])
@pytest.mark.parametrize(("batch", "length", "channels"), [(1, 20000, 8), (32, 640, 128)])
def test_memory_is_bounded_by_the_chunk(
    batch: int, length: int, channels: int, backend: str
) -> None:
    """Between forward and backward only the inputs and one state a chunk are kept."""
    if backend not in BACKENDS:
        pytest.skip("the C++ kernels are not built")
    d_state = 16
    u = torch.randn(batch, length, channels, requires_grad=True)
    B = torch.randn(batch, length, d_state)
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        selective_scan_tokens(u, u, -torch.rand(channels, d_state), B, B, backend=backend)
    inputs = 2 * u.numel() + 2 * B.numel() + channels * d_state
    assert kept - inputs <= batch * length * channels * d_state / 16


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_lower_the_precision(backend: str) -> None:
    case = golden_case("long")
    inputs = {key: case[key].clone().requires_grad_() for key in ARGUMENTS}
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(**inputs, backend=backend)
    y.backward(case["grad_y"])
    assert relative(y.detach(), case["y"]) < 1e-5
    for key in ARGUMENTS:
        assert relative(inputs[key].grad, case[f"grad_{key}"]) < 1e-4, key


def test_auto_leaves_float64_to_those_who_compute_in_it() -> None:
    inputs = [torch.randn(1, 40, 3, dtype=torch.float64) for _ in range(2)]
    inputs += [-torch.rand(3, 2, dtype=torch.float64)]
    inputs += [torch.randn(1, 40, 2, dtype=torch.float64) for _ in range(2)]
    expected = selective_scan_tokens(*inputs, backend="reference")
    assert relative(selective_scan_tokens(*inputs), expected) < 1e-13


def test_float64_is_computed_in_float64() -> None:
    torch.manual_seed(0)
    inputs = [
        torch.randn(2, 13, 6, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 13, 6, dtype=torch.float64, requires_grad=True),
        -torch.rand(6, 3, dtype=torch.float64),
        torch.randn(2, 13, 2, 3, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 13, 2, 3, dtype=torch.float64, requires_grad=True),
    ]
    inputs[2].requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: selective_scan_tokens(*x, backend="torch"), inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": torch.zeros(1, 5, 16)}, "delta is"),
        ({"A": torch.zeros(5, 4)}, "B is"),
        ({"D": torch.zeros(4)}, "D is"),
        ({"B": torch.zeros(1, 2, 3, 17), "C": torch.zeros(1, 2, 3, 17)}, "do not divide"),
        ({"B": torch.zeros(1, 3, 17)}, "must be"),
        ({"u": torch.zeros(1, 5, 0), "delta": torch.zeros(1, 5, 0)}, "no tokens"),
    ],
)
def test_shapes_that_do_not_fit(change: dict, message: str) -> None:
    case = golden_case("small")
    inputs = {key: case[key] for key in ARGUMENTS} | change
    with pytest.raises(ValueError, match=message):
        selective_scan(**inputs)


@pytest.mark.parametrize("backend", OPERATORS)
@pytest.mark.parametrize("name", ["small", "groups"])
def test_operator_is_well_behaved(name: str, backend: str) -> None:
    """Schema, fake implementation, autograd registration, and tracing with dynamic shapes."""
    case = golden_case(name)
    u, delta = (case[key].mT.clone().requires_grad_() for key in ("u", "delta"))
    B, C = (case[key].permute(0, 3, 1, 2).clone().requires_grad_() for key in ("B", "C"))
    A, D, bias = (case[key].clone().requires_grad_() for key in ("A", "D", "delta_bias"))
    for optional in ((D, bias), (None, None)):
        torch.library.opcheck(scan, (u, delta, A, B, C, *optional, backend, True))
    no_grad = [x.detach() for x in (u, delta, A, B, C, D, bias)]
    torch.library.opcheck(scan, (*no_grad, backend, False))


@pytest.mark.parametrize("backend", OPERATORS)
@pytest.mark.parametrize("name", ["small", "groups"])
def test_results_lie_in_memory_as_compilers_are_told(name: str, backend: str) -> None:
    case = golden_case(name)
    inputs = [case["u"].mT, case["delta"].mT, case["A"]]
    inputs += [case["B"].permute(0, 3, 1, 2), case["C"].permute(0, 3, 1, 2)]
    inputs += [case["D"], case["delta_bias"]]
    y, saved = scan(*inputs, backend, True)
    gradients = scan_backward(torch.ones_like(y), saved, *inputs, backend)
    assert all(x.is_contiguous() for x in (y, saved, *gradients))


class _Broken(ScanBackend):
    name = "broken"
    priority = 0

    def unavailable_reason(self, request: ScanRequest) -> str | None:
        return "it is broken"

    def saved_shape(self, inputs: object) -> tuple[int, ...]:
        raise AssertionError

    def forward(self, inputs: object, keep: bool) -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError

    def backward(self, *arguments: object) -> tuple[torch.Tensor, ...]:
        raise AssertionError


def test_unknown_and_unavailable_backends() -> None:
    case = golden_case("small")
    inputs = [case[key] for key in ARGUMENTS]
    with pytest.raises(ValueError, match="'trition' is unknown"):
        selective_scan(*inputs, backend="trition")
    with pytest.raises(BackendUnavailableError, match="it is broken"):
        select_backend({"broken": _Broken()}, "broken", ScanRequest())
    with pytest.raises(BackendUnavailableError, match="no backend runs on cpu"):
        select_backend({"broken": _Broken()}, "auto", ScanRequest())


def test_names_and_priorities_are_checked() -> None:
    before = dict(REGISTERED)
    with pytest.raises(TypeError, match="needs a name and a priority"):
        register_backend(type("Nameless", (_Broken,), {"name": None}))
    for name in ("auto", "torch"):
        with pytest.raises(ValueError, match=f"'{name}' is taken"):
            register_backend(type("Second", (_Broken,), {"name": name}))
    assert before == REGISTERED


_THIRD_PARTY = """
from mambair.ops.selective_scan import register_backend
from mambair.ops.selective_scan.backends.chunked import ChunkedBackend

@register_backend
class Mine(ChunkedBackend):
    name = "mine"
    priority = 500
"""
_USES_IT = """
import my_scan, torch
from mambair.archs import MambaIRv2Light
from mambair.ops.selective_scan import available_backends, select_automatic
assert list(available_backends("cpu"))[0] == select_automatic("cpu") == "mine"
net = MambaIRv2Light(embed_dim=24, depths=[1], num_heads=[2], window_size=8, scan_backend="mine")
assert net.eval()(torch.rand(1, 3, 8, 8)).isfinite().all()
"""


def test_a_module_of_others_adds_a_backend(tmp_path: Path) -> None:
    (tmp_path / "my_scan.py").write_text(_THIRD_PARTY)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", _USES_IT], check=True, env=environment, cwd=tmp_path)


def test_auto_says_once_what_runs(caplog: pytest.LogCaptureFixture) -> None:
    backend = sys.modules["mambair.ops.selective_scan.backend"]
    backend._automatic.cache_clear()
    backend._announced.clear()
    case = golden_case("small")
    inputs = [case[key] for key in ARGUMENTS]
    logger = logging.getLogger("mambair")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="mambair"):
            selective_scan(*inputs)
            selective_scan(*inputs)
    finally:
        logger.removeHandler(caplog.handler)
    said = {record.getMessage() for record in caplog.records}
    assert len(said) == 1
    assert repr(select_automatic("cpu")) in said.pop()


needs_library = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")


@needs_library
class TestNative:
    """The C++ backend: instruction sets, threads, strides and limits."""

    @pytest.mark.parametrize("name", CASES)
    def test_every_instruction_set(self, name: str, instruction_set: None) -> None:
        test_values_and_gradients(name, "cpp")

    @pytest.mark.parametrize("own_threads", [False, True])
    @pytest.mark.parametrize("length", [200, 2500])  # 2500: three segments that follow each other
    def test_the_number_of_threads_does_not_show(
        self, length: int, own_threads: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if own_threads:
            monkeypatch.setattr(native, "_torch_parallel", lambda: None)
        torch.manual_seed(0)
        u, delta = torch.randn(2, 2, length, 70)
        A, B, C = -torch.rand(70, 9), torch.randn(2, length, 9), torch.randn(2, length, 9)
        weight = torch.randn(2, length, 70)

        def run(backend: str) -> list[torch.Tensor]:
            inputs = [x.clone().requires_grad_() for x in (u, delta, A, B, C)]
            y = selective_scan_tokens(*inputs, backend=backend)
            y.backward(weight)
            return [y.detach(), *(x.grad for x in inputs)]

        results = []
        before = torch.get_num_threads()
        try:
            for threads in (1, 2, 3, 5):
                torch.set_num_threads(threads)
                results.append(run("cpp"))
        finally:
            torch.set_num_threads(before)
        for other in results[1:]:
            assert all(map(torch.equal, results[0], other))
        for actual, expected in zip(results[0], run("torch"), strict=True):
            assert (actual - expected).abs().max() < 1e-4 * expected.abs().max()

    def test_threads_of_its_own_agree_with_torchs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = golden_case("batch")
        inputs = [case[key] for key in ARGUMENTS]
        expected = selective_scan(*inputs, backend="cpp")
        monkeypatch.setattr(native, "_torch_parallel", lambda: None)
        assert torch.equal(selective_scan(*inputs, backend="cpp"), expected)

    @pytest.mark.parametrize("d_state", [1, 2, 7, 8, 15, 16, 17, 64])
    @pytest.mark.parametrize("channels", [1, 15, 16, 33])
    def test_any_width_and_state(self, channels: int, d_state: int) -> None:
        torch.manual_seed(d_state)
        values = [
            torch.randn(2, 37, channels), torch.randn(2, 37, channels),
            -torch.rand(channels, d_state), torch.randn(2, 37, d_state),
            torch.randn(2, 37, d_state), torch.randn(channels), torch.randn(channels),
        ]  # fmt: skip
        gradients = {}
        for backend in ("cpp", "torch"):
            inputs = [value.clone().requires_grad_() for value in values]
            y = selective_scan_tokens(*inputs, backend=backend)
            (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
            gradients[backend] = [y.detach(), *(x.grad for x in inputs)]
        for own, other in zip(gradients["cpp"], gradients["torch"], strict=True):
            assert relative(own, other) < 1e-5

    def test_limits_are_reported(self) -> None:
        inputs = [torch.zeros(1, 3, 2), torch.zeros(1, 3, 2), torch.zeros(2, 65)]
        inputs += [torch.zeros(1, 3, 65)] * 2
        with pytest.raises(BackendUnavailableError, match="d_state up to 64, not 65"):
            selective_scan_tokens(*inputs, backend="cpp")
        assert selective_scan_tokens(*inputs).shape == (1, 3, 2)  # auto takes another

    def test_meta_and_other_devices_are_refused(self) -> None:
        assert available_backends("cuda")["cpp"] == "it runs on CPUs"
