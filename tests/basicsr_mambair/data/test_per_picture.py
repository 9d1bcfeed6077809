"""Pictures that are degraded by themselves, each by one thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from basicsr_mambair.data.degradations import build_degradation
from basicsr_mambair.data.degradations.per_picture import degrade_each


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["second_order", "bsrgan", "phone"])
def test_the_number_of_threads_does_not_change_a_bit(name: str) -> None:
    pipeline = build_degradation({"type": name}, 2)
    images = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    drawn = [pipeline.draw(np.random.default_rng(seed)) for seed in range(5)]
    results = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        results.append(pipeline.apply_batch(images, drawn))
        assert torch.get_num_threads() == count
    assert all(torch.equal(results[0], other) for other in results)


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_flow_when_they_are_wanted(count: int) -> None:
    torch.set_num_threads(count)
    images = torch.ones(2, 1, 4, 4, requires_grad=True)
    drawn: list[dict[str, Any]] = [{"gain": 2.0}, {"gain": 3.0}]

    def amplify(image: Tensor, each: dict[str, Any]) -> Tensor:
        return image * each["gain"]

    degrade_each(amplify, images, drawn).sum().backward()
    assert images.grad is not None
    assert images.grad[:, 0, 0, 0].tolist() == [2.0, 3.0]
    with torch.no_grad():
        assert not degrade_each(amplify, images, drawn).requires_grad


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_reaches_the_caller(count: int) -> None:
    torch.set_num_threads(count)

    def refuse(image: Tensor, each: dict[str, Any]) -> Tensor:
        raise ValueError(f"not {each['name']}")

    with pytest.raises(ValueError, match="not a"):
        degrade_each(refuse, torch.ones(2, 1, 4, 4), [{"name": "a"}, {"name": "b"}])
    assert torch.get_num_threads() == count
