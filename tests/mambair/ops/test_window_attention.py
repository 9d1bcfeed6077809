"""Window attention: the C++ kernel against PyTorch's, and both against a full mask."""

from __future__ import annotations

import itertools
import math
import sys

import pytest
import torch

from mambair.ops import native
from mambair.ops.window_attention import (
    BETWEEN_REGIONS,
    relative_position_index,
    window_attention,
)

module = sys.modules["mambair.ops.window_attention"]


def by_torch(qkv: torch.Tensor, table: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    return module._torch_attention(qkv, expand(table, window), window, shift)


def by_kernel(qkv: torch.Tensor, table: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    return module.native_attention(qkv, table, window, shift, True)[0]


IMPLEMENTATIONS = {"torch": by_torch, "cpp": by_kernel}
SHAPES = [  # height, width, window, heads, head dimension, batch
    (4, 4, 4, 2, 4, 1),
    (4, 12, 4, 1, 7, 2),
    (12, 8, 4, 2, 16, 1),
    (16, 32, 16, 3, 12, 1),
    (32, 16, 16, 2, 29, 2),
    (10, 15, 5, 2, 33, 1),
    (18, 12, 6, 1, 64, 1),
    (20, 40, 20, 2, 5, 1),
]


needs_library = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")


def needs(implementation: str) -> None:
    if implementation == "cpp" and not native.AVAILABLE:
        pytest.skip("the C++ kernels are not built")


def inputs(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    height, width, window, heads, depth, batch = shape
    torch.manual_seed(0)
    qkv = torch.randn(batch, height, width, 3 * heads * depth) * 2
    return qkv, torch.randn((2 * window - 1) ** 2, heads)


def expand(table: torch.Tensor, window: int) -> torch.Tensor:
    """The bias of every pair of tokens, ``(heads, w², w²)``."""
    return table[relative_position_index(window)].permute(2, 0, 1)


def attend(qkv: torch.Tensor, table: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    return window_attention(qkv, table, relative_position_index(window), window, shift)


def test_relative_positions() -> None:
    index = relative_position_index(3).view(3, 3, 3, 3)
    for row, column, other_row, other_column in itertools.product(range(3), repeat=4):
        expected = (row - other_row + 2) * 5 + column - other_column + 2
        assert index[row, column, other_row, other_column] == expected


def by_definition(qkv: torch.Tensor, table: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """Roll, cut, mask of the 3×3 regions of the whole map, attend, roll back; in float64."""
    batch, height, width, channels = qkv.shape
    heads, bias = table.shape[1], expand(table.double(), window)
    qkv = qkv.double().roll((-shift, -shift), (1, 2))
    region = torch.zeros(height, width, dtype=torch.long)
    if shift:
        borders = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
        for i, rows in enumerate(borders):
            for j, columns in enumerate(borders):
                region[rows, columns] = 3 * i + j
    out = qkv.new_empty(batch, height, width, channels // 3)
    for b in range(batch):
        for top in range(0, height, window):
            for left in range(0, width, window):
                at = (slice(top, top + window), slice(left, left + window))
                part = qkv[(b, *at)].reshape(window**2, 3, heads, -1)
                q, k, v = part.permute(1, 2, 0, 3)
                ids = region[at].flatten()
                mask = (ids[:, None] != ids[None]) * BETWEEN_REGIONS
                scores = q @ k.mT / math.sqrt(q.shape[-1]) + bias + mask
                result = (scores.softmax(-1) @ v).permute(1, 0, 2)
                out[(b, *at)] = result.reshape(window, window, -1)
    return out.roll((shift, shift), (1, 2)).float()


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_against_the_definition(implementation: str, shape: tuple[int, ...], shifted: bool) -> None:
    needs(implementation)
    qkv, table = inputs(shape)
    window = shape[2]
    shift = window // 2 if shifted else 0
    actual = IMPLEMENTATIONS[implementation](qkv, table, window, shift)
    torch.testing.assert_close(actual, by_definition(qkv, table, window, shift), atol=2e-5, rtol=0)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gradients_against_the_definition(
    implementation: str, shape: tuple[int, ...], shifted: bool
) -> None:
    needs(implementation)
    window = shape[2]
    shift = window // 2 if shifted else 0
    values = inputs(shape)
    weight = torch.randn(*values[0].shape[:3], values[0].shape[3] // 3)
    gradients = []
    for function in (IMPLEMENTATIONS[implementation], by_definition):
        leaves = [x.clone().requires_grad_() for x in values]
        (function(*leaves, window, shift) * weight).sum().backward()
        gradients.append([x.grad for x in leaves])
    for actual, expected in zip(*gradients, strict=True):
        assert (actual - expected).abs().max() < 2e-5 * expected.abs().max()


@pytest.mark.parametrize("shape", SHAPES[3:6])
def test_every_instruction_set(shape: tuple[int, ...], instruction_set: None) -> None:
    test_against_the_definition("cpp", shape, True)
    test_gradients_against_the_definition("cpp", shape, True)


@needs_library
def test_the_number_of_threads_does_not_show() -> None:
    qkv, table = inputs((32, 48, 8, 3, 12, 2))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaves = [x.clone().requires_grad_() for x in (qkv, table)]
            out = attend(*leaves, 8, 4)
            out.square().sum().backward()
            results.append([out.detach(), *(x.grad for x in leaves)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@needs_library
def test_operator_is_well_behaved() -> None:
    qkv, table = inputs(SHAPES[1])
    torch.library.opcheck(module.native_attention, (qkv, table, 4, 2, False))
    leaves = (qkv.requires_grad_(), table.requires_grad_())
    torch.library.opcheck(module.native_attention, (*leaves, 4, 2, True))


def test_large_scores_stay_finite() -> None:
    qkv, table = inputs(SHAPES[3])
    with torch.no_grad():
        out = attend(qkv * 1000, table, 16, 8)
    assert torch.isfinite(out).all()


def test_float64_is_differentiated_in_float64() -> None:
    double = [x.double().requires_grad_() for x in inputs(SHAPES[0])]
    assert torch.autograd.gradcheck(lambda q, t: attend(q, t, 4, 2), double)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_rounded_only_at_the_ends(dtype: torch.dtype) -> None:
    qkv, table = inputs(SHAPES[0])
    qkv = qkv.to(dtype).requires_grad_()
    table.requires_grad_()
    out = attend(qkv, table, 4, 2)
    assert out.dtype == dtype
    out.float().square().sum().backward()
    assert qkv.grad is not None and qkv.grad.dtype == dtype
    assert table.grad is not None and table.grad.dtype == torch.float32
    expected = by_definition(qkv.detach().float(), table.detach(), 4, 2)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(out.detach().float(), expected, atol=4 * eps, rtol=4 * eps)
