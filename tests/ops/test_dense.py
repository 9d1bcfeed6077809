"""The fused linear layer: the C++ kernel against PyTorch's operators."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from basicsr_mambair.ops import native
from basicsr_mambair.ops.dense import Residual, dense, gate_and_project, native_dense
from basicsr_mambair.ops.routing import routes_of

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")


def arguments(
    tokens: tuple[int, ...], channels: int, out: int, parts: tuple[bool, ...]
) -> tuple[torch.Tensor, nn.Module, dict[str, Any]]:
    torch.manual_seed(0)
    times, norm, gelu, residual, second = parts
    layer = nn.Linear(channels, out, bias=gelu)
    normalisation = nn.LayerNorm(channels)
    nn.init.normal_(normalisation.weight)
    nn.init.normal_(normalisation.bias)
    added = None
    if residual:
        added = Residual(torch.randn(*tokens, out))
        if second:
            added = Residual(added.first, torch.randn(*tokens, out), torch.randn(out))
    options = dict(
        times=torch.randn(*tokens, channels) if times else None,
        norm=normalisation if norm else None,
        gelu=gelu,
        residual=added,
    )
    return torch.randn(*tokens, channels) * 3, layer, options


def check(tokens: tuple[int, ...], channels: int, out: int, parts: tuple[bool, ...]) -> None:
    x, layer, options = arguments(tokens, channels, out, parts)
    expected = dense(x, layer, **options)  # with gradients: PyTorch's operators
    with torch.no_grad():
        actual = dense(x, layer, **options)
    assert expected.requires_grad and not actual.requires_grad
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-5)


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
        expected = dense(x, layer, times=halves[0])
        with torch.no_grad():
            actual = dense(x, layer, times=halves[0])
        torch.testing.assert_close(actual, expected)


def test_axes_of_one_have_no_stride() -> None:
    layer = nn.Linear(8, 5)
    for x in (torch.randn(4, 8, 1).transpose(1, 2), torch.randn(3, 4, 8)[1:2].permute(1, 0, 2)):
        expected = dense(x, layer)
        with torch.no_grad():
            torch.testing.assert_close(dense(x, layer), expected)


@pytest.mark.parametrize("options", [{"bias": False}, {"elementwise_affine": False}])
def test_norms_without_parameters(options: dict[str, bool]) -> None:
    layer, norm, x = nn.Linear(8, 5), nn.LayerNorm(8, **options), torch.randn(3, 8)
    expected = dense(x, layer, norm=norm)
    with torch.no_grad():
        torch.testing.assert_close(dense(x, layer, norm=norm), expected)


def test_a_convolution_of_one_pixel_is_a_linear_layer() -> None:
    layer = nn.Conv2d(8, 5, 1)
    x = torch.randn(2, 6, 7, 8)
    expected = dense(x, layer)
    with torch.no_grad():
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
    norm = options["norm"]
    inputs = (x, layer.weight, layer.bias, options["times"], norm.weight, norm.bias, norm.eps, True)
    torch.library.opcheck(
        native_dense,
        tuple(
            value.detach() if isinstance(value, torch.Tensor) else value
            for value in (*inputs, *options["residual"], None, torch.randperm(10), True, True)
        ),
    )


@pytest.mark.parametrize(("channels", "out"), [(3, 5), (17, 20), (48, 33)])
def test_tokens_in_the_order_of_their_routes(channels: int, out: int) -> None:
    torch.manual_seed(0)
    routes = routes_of(torch.randint(0, 7, (2, 65)))
    x, gate = torch.randn(2, 2, 65, channels)
    weight = torch.randn(out, channels)
    layer, norm = nn.Linear(channels, out), nn.LayerNorm(channels)
    residual = Residual(torch.randn(2, 5, 13, out))
    results = []
    for grad in (True, False):  # with gradients: PyTorch's operators
        with torch.set_grad_enabled(grad):
            u, projected = gate_and_project(x, gate, routes, weight)
            back = dense(u, layer, norm=norm, routes=routes, residual=residual)
            results.append((u, projected, back.view(2, 65, out)))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-5)
    gated = (x * gate.sigmoid()).flatten(0, 1)
    torch.testing.assert_close(results[1][0].flatten(0, 1), gated[routes.order])
