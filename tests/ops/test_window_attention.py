"""Window attention: the C++ kernel against PyTorch's, and both against a full mask."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from basicsr_mambair.ops import native
from basicsr_mambair.ops.window_attention import BETWEEN_REGIONS, window_attention

module = sys.modules["basicsr_mambair.ops.window_attention"]
IMPLEMENTATIONS = {
    "torch": module._torch_attention,
    "cpp": lambda *arguments: module.native_attention(*arguments, True)[0],
}
SHAPES = [  # height, width, window, heads, head dimension, batch
    (4, 4, 4, 2, 4, 1),
    (4, 12, 4, 1, 7, 2),
    (12, 8, 4, 2, 16, 1),
    (16, 32, 16, 3, 12, 1),
    (32, 16, 16, 2, 29, 2),
    (10, 15, 5, 2, 33, 1),
    (18, 12, 6, 1, 64, 1),
]


needs_library = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")


def needs(implementation: str) -> None:
    if implementation == "cpp" and not native.AVAILABLE:
        pytest.skip("the C++ kernels are not built")


def inputs(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    height, width, window, heads, depth, batch = shape
    torch.manual_seed(0)
    qkv = torch.randn(batch, height, width, 3 * heads * depth) * 2
    return qkv, torch.randn(heads, window**2, window**2)


def by_definition(qkv: torch.Tensor, bias: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """Roll, cut, mask of the 3×3 regions of the whole map, attend, roll back; in float64."""
    batch, height, width, channels = qkv.shape
    heads = bias.shape[0]
    qkv, bias = qkv.double().roll((-shift, -shift), (1, 2)), bias.double()
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
    qkv, bias = inputs(shape)
    window = shape[2]
    shift = window // 2 if shifted else 0
    actual = IMPLEMENTATIONS[implementation](qkv, bias, window, shift)
    torch.testing.assert_close(actual, by_definition(qkv, bias, window, shift), atol=2e-5, rtol=0)


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
    qkv, bias = inputs((32, 48, 8, 3, 12, 2))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaves = [x.clone().requires_grad_() for x in (qkv, bias)]
            out = window_attention(*leaves, 8, 4)
            out.square().sum().backward()
            results.append([out.detach(), *(x.grad for x in leaves)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@needs_library
def test_operator_is_well_behaved() -> None:
    qkv, bias = inputs(SHAPES[1])
    torch.library.opcheck(module.native_attention, (qkv, bias, 4, 2, False))
    leaves = (qkv.requires_grad_(), bias.requires_grad_())
    torch.library.opcheck(module.native_attention, (*leaves, 4, 2, True))


def test_large_scores_stay_finite() -> None:
    qkv, bias = inputs(SHAPES[3])
    with torch.no_grad():
        out = window_attention(qkv * 1000, bias, 16, 8)
    assert torch.isfinite(out).all()


def test_float64_is_differentiated_in_float64() -> None:
    qkv, bias = inputs(SHAPES[0])
    double = [x.double().requires_grad_() for x in (qkv, bias)]
    assert torch.autograd.gradcheck(lambda q, b: window_attention(q, b, 4, 2), double)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_rounded_only_at_the_ends(dtype: torch.dtype) -> None:
    qkv, bias = inputs(SHAPES[0])
    qkv = qkv.to(dtype).requires_grad_()
    bias.requires_grad_()
    out = window_attention(qkv, bias, 4, 2)
    assert out.dtype == dtype
    out.float().square().sum().backward()
    assert qkv.grad is not None and qkv.grad.dtype == dtype
    assert bias.grad is not None and bias.grad.dtype == torch.float32
    expected = by_definition(qkv.detach().float(), bias.detach(), 4, 2)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(out.detach().float(), expected, atol=4 * eps, rtol=4 * eps)
