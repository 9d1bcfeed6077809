"""Routing: the C++ kernel against PyTorch's operators, and the laws of the order."""

from __future__ import annotations

import pytest
import torch

from basicsr_mambair.ops import native
from basicsr_mambair.ops.gumbel import seeded_gumbel, stream_key
from basicsr_mambair.ops.routing import native_route, route, routes_of

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
    routes = route(x, seed, stream=3)
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


@needs_library
def test_every_instruction_set_and_thread_count() -> None:
    library = native.library()
    best, threads = library.mambair_instruction_set(), torch.get_num_threads()
    x = scores()
    noisy = x.double() + seeded_gumbel(700, 37, seed=5, stream=1)
    try:
        for wanted in range(best + 1):
            library.mambair_use_instruction_set(wanted)
            results = []
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                results.append(route(x, 5, 1))
            assert all(torch.equal(results[0].chosen, other.chosen) for other in results)
            chosen = noisy.gather(-1, results[0].chosen[..., None])[..., 0]
            assert (noisy.amax(-1) - chosen).max() < 1e-5
    finally:
        library.mambair_use_instruction_set(best)
        torch.set_num_threads(threads)


@needs_library
def test_operator_is_well_behaved() -> None:
    torch.library.opcheck(native_route, (scores(length=20), stream_key(1, 2), True))
    torch.library.opcheck(native_route, (scores(length=20), 0, False))


def test_low_precision_takes_torch() -> None:
    routes = route(scores().bfloat16(), 0, 0)
    assert routes.chosen.shape == (2, 700)
