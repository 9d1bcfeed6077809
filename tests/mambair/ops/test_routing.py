"""Routing: the C++ kernel against PyTorch's operators, and the laws of the order."""

from __future__ import annotations

import pytest
import torch

from mambair.ops import native
from mambair.ops.gumbel import gumbel_noise, separate_keys, shared_keys
from mambair.ops.routing import native_route, route, route_softly, routes_of
from tests.mambair.ops.test_gumbel import seeded_gumbel

needs_library = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")


def scores(batch: int = 2, length: int = 700, classes: int = 37) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(batch, length, classes) * 2


def test_order_is_stable_and_inverted() -> None:
    chosen = torch.tensor([[2, 0, 1, 0, 2], [1, 1, 0, 0, 0]])
    routes = routes_of(chosen)
    assert routes.order.tolist() == [1, 3, 2, 0, 4, 7, 8, 9, 5, 6]
    assert routes.order[routes.inverse].tolist() == list(range(10))


@needs_library
@pytest.mark.parametrize("classes", [1, 15, 16, 64, 130])
@pytest.mark.parametrize("seed", [None, 0, 12345678901])
def test_kernel_agrees_with_torch(seed: int | None, classes: int) -> None:
    x = scores(classes=classes)
    routes = route(x, None if seed is None else shared_keys(seed, 3, 2))
    noisy = x.double()
    if seed is not None:
        noisy = noisy + seeded_gumbel(700, classes, seed=seed, stream=3)
    best = noisy.amax(-1)
    chosen = noisy.gather(-1, routes.chosen[..., None])[..., 0]
    # the same class, or one whose noisy score is the same within float32
    assert (best - chosen).max() < 1e-5
    expected = routes_of(routes.chosen)
    assert torch.equal(routes.order, expected.order)
    assert torch.equal(routes.inverse, expected.inverse)


def test_every_instruction_set_and_thread_count(instruction_set: None) -> None:
    threads = torch.get_num_threads()
    x = scores()
    noisy = x.double() + seeded_gumbel(700, 37, seed=5, stream=1)
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(route(x, shared_keys(5, 1, 2)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0].chosen, other.chosen) for other in results)
    chosen = noisy.gather(-1, results[0].chosen[..., None])[..., 0]
    assert (noisy.amax(-1) - chosen).max() < 1e-5


@needs_library
def test_operator_is_well_behaved() -> None:
    x = scores(length=20)
    torch.library.opcheck(native_route, (x, shared_keys(1, 2, 2), False))
    torch.library.opcheck(native_route, (x, None, False))
    torch.library.opcheck(native_route, (x.requires_grad_(), shared_keys(1, 2, 2), True))


def test_low_precision_takes_torch() -> None:
    routes = route(scores().bfloat16(), shared_keys(0, 0, 2))
    assert routes.chosen.shape == (2, 700)


@needs_library
@pytest.mark.parametrize("classes", [1, 15, 64, 130])
def test_soft_routes_agree_with_torch(classes: int) -> None:
    x = scores(classes=classes).requires_grad_()
    keys = separate_keys(torch.tensor([7], dtype=torch.int32), 3, 2)
    routes, soft = route_softly(x, keys)
    weight = torch.randn(soft.shape)
    (gradient,) = torch.autograd.grad((soft * weight).sum(), x)
    expected = (x.double() + gumbel_noise(keys, 700, classes)).softmax(-1)
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), x)
    assert (soft - expected).abs().max() < 1e-6
    assert (gradient - expected_gradient).abs().max() < 1e-5
    assert torch.equal(routes.chosen, route(x, keys).chosen)


def test_keys_of_training_differ_between_elements_and_seeds() -> None:
    seeds = [torch.tensor([seed], dtype=torch.int32) for seed in (0, 1, -5)]
    keys = torch.cat([separate_keys(seed, block, 50) for seed in seeds for block in range(4)])
    assert keys.unique().numel() == keys.numel()
    noise = gumbel_noise(separate_keys(seeds[0], 0, 2), 4000, 32).flatten(1)
    assert torch.corrcoef(noise)[0, 1].abs() < 5 / 4000**0.5
