"""The fused linear layer: the C++ kernel against PyTorch's operators."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from mambair.ops import native
from mambair.ops.dense import Residual, dense, native_dense

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")


def arguments(
    tokens: tuple[int, ...], channels: int, out: int, parts: tuple[bool, ...]
) -> tuple[torch.Tensor, nn.Module, dict[str, Any]]:
    torch.manual_seed(0)
    times, norm, gelu, residual, second = parts
    layer = nn.Linear(channels, out, bias=gelu)
    normalization = nn.LayerNorm(channels)
    nn.init.normal_(normalization.weight)
    nn.init.normal_(normalization.bias)
    added = None
    if residual:
        added = Residual(torch.randn(*tokens, out))
        if second:
            added = Residual(added.first, torch.randn(*tokens, out), torch.randn(out))
    options = dict(
        times=torch.randn(*tokens, channels) if times else None,
        norm=normalization if norm else None,
        gelu=gelu,
        residual=added,
    )
    return torch.randn(*tokens, channels) * 3, layer, options


def in_double(value: Any) -> Any:
    """Tensors and modules in float64, which PyTorch's operators take."""
    if isinstance(value, torch.Tensor):
        return value.detach().double()
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).double()
    if isinstance(value, Residual):
        return Residual(*map(in_double, value))
    if isinstance(value, dict):
        return {name: in_double(part) for name, part in value.items()}
    return value


def check(tokens: tuple[int, ...], channels: int, out: int, parts: tuple[bool, ...]) -> None:
    """Results and gradients of float32, which the kernel takes, are those of float64."""
    single = arguments(tokens, channels, out, parts)
    found = []
    for x, layer, options in (single, tuple(map(in_double, single))):
        leaves = {"x": x, "times": options["times"]}
        if options["residual"] is not None:
            leaves |= options["residual"]._asdict()
        leaves = {k: v.requires_grad_() for k, v in leaves.items() if v is not None}
        y = dense(x, layer, **options)
        weight = torch.linspace(-1, 2, y.numel()).view_as(y)
        (y * weight.to(y.dtype)).sum().backward()
        modules = [layer] if options["norm"] is None else [layer, options["norm"]]
        grads = {f"{type(m)}.{k}": p.grad for m in modules for k, p in m.named_parameters()}
        found.append((y.detach(), grads | {name: leaf.grad for name, leaf in leaves.items()}))
    (actual, grads), (expected, expected_grads) = found
    torch.testing.assert_close(actual.double(), expected, atol=2e-5, rtol=1e-5)
    assert grads.keys() == expected_grads.keys()
    for name, gradient in expected_grads.items():
        assert (grads[name] - gradient).abs().max() <= 2e-5 * max(1, gradient.abs().max()), name
    x, layer, options = single
    with torch.no_grad():
        assert torch.equal(dense(x, layer, **options), actual)


@pytest.mark.parametrize("parts", list(itertools.product([False, True], repeat=5)))
def test_every_combination(parts: tuple[bool, ...]) -> None:
    check((1, 9, 13), 48, 144, parts)


@pytest.mark.parametrize("tokens", [(1,), (7,), (64,), (2, 3, 65)])
@pytest.mark.parametrize(("channels", "out"), [(1, 1), (15, 17), (24, 48), (174, 522), (348, 174)])
def test_any_size(tokens: tuple[int, ...], channels: int, out: int) -> None:
    check(tokens, channels, out, (False, True, True, True, True))


def test_every_instruction_set(instruction_set: None) -> None:
    check((3, 50), 29, 33, (True, True, True, True, True))


def test_halves_and_permuted_maps_need_no_copy_of_the_caller() -> None:
    layer = nn.Linear(8, 5)
    halves = torch.randn(2, 6, 7, 16).chunk(2, dim=-1)
    permuted = torch.randn(2, 8, 6, 7).permute(0, 2, 3, 1)
    for x in (*halves, permuted):
        with torch.no_grad():
            actual = dense(x, layer, times=halves[0])
        torch.testing.assert_close(actual, layer(x * halves[0]))


def test_axes_of_one_have_no_stride() -> None:
    layer = nn.Linear(8, 5)
    for x in (torch.randn(4, 8, 1).transpose(1, 2), torch.randn(3, 4, 8)[1:2].permute(1, 0, 2)):
        with torch.no_grad():
            torch.testing.assert_close(dense(x, layer), layer(x))


@pytest.mark.parametrize("options", [{"bias": False}, {"elementwise_affine": False}])
def test_norms_without_parameters(options: dict[str, bool]) -> None:
    layer, norm, x = nn.Linear(8, 5), nn.LayerNorm(8, **options), torch.randn(3, 8)
    torch.testing.assert_close(dense(x, layer, norm=norm), layer(norm(x)))


def test_a_convolution_of_one_pixel_is_a_linear_layer() -> None:
    layer = nn.Conv2d(8, 5, 1)
    x = torch.randn(2, 6, 7, 8)
    expected = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(dense(x, layer), expected)


def test_hooks_are_called() -> None:
    layer, called = nn.Linear(8, 5), []
    layer.register_forward_hook(lambda *_: called.append(1))
    with torch.no_grad():
        dense(torch.randn(3, 8), layer)
    assert called


def test_gelu_of_large_and_small_values() -> None:
    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    x = torch.cat([torch.linspace(-15, 15, 2001), torch.tensor([-1e30, -1e-30, 0.0, 1e-30, 1e30])])
    with torch.no_grad():
        actual = dense(x[:, None], layer, gelu=True)[:, 0]
    torch.testing.assert_close(actual, nn.functional.gelu(x), atol=1e-6, rtol=1e-6)


def test_operator_is_well_behaved() -> None:
    x, layer, options = arguments((2, 5), 8, 12, (True, True, True, True, True))
    norm, residual = options["norm"], options["residual"]
    parameters = (layer.weight, layer.bias, options["times"], norm.weight, norm.bias)
    torch.library.opcheck(native_dense, (x, *parameters, norm.eps, True, *residual))
    torch.library.opcheck(
        native_dense, (x.requires_grad_(), layer.weight, *[None] * 4, 0.0, False, *[None] * 3)
    )


def test_the_number_of_threads_does_not_show() -> None:
    x, layer, options = arguments((3, 100), 20, 30, (True, True, True, True, True))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            layer.zero_grad()
            dense(x, layer, **options).square().sum().backward()
            found.append(layer.weight.grad.clone())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
