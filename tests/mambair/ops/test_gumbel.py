"""Laws of the counter-based noise."""

from __future__ import annotations

import math

import pytest
import torch

from mambair.ops.gumbel import _mix, _mix_int, _signed, gumbel_noise, shared_keys


def seeded_gumbel(tokens: int, classes: int, *, seed: int, stream: int) -> torch.Tensor:
    """The noise of inference, ``(tokens, classes)``."""
    return gumbel_noise(shared_keys(seed, stream, 1), tokens, classes)[0]


def test_distribution_is_gumbel() -> None:
    noise = seeded_gumbel(20000, 64, seed=3, stream=5).double()
    assert torch.isfinite(noise).all()
    euler = 0.5772156649
    assert abs(noise.mean() - euler) < 0.005
    assert abs(noise.var() - math.pi**2 / 6) < 0.01
    for quantile in (0.01, 0.5, 0.99):
        expected = -math.log(-math.log(quantile))
        assert abs(noise.flatten()[:1000000].quantile(quantile) - expected) < 0.02


def test_columns_rows_and_streams_are_uncorrelated() -> None:
    noise = seeded_gumbel(4000, 32, seed=0, stream=0)
    limit = 5 / math.sqrt(4000)
    between_columns = torch.corrcoef(noise.T) - torch.eye(32)
    assert between_columns.abs().max() < limit
    assert torch.corrcoef(torch.stack([noise[:-1, 0], noise[1:, 0]]))[0, 1].abs() < limit
    for other in (dict(seed=0, stream=1), dict(seed=1, stream=0), dict(seed=1 << 40, stream=0)):
        second = seeded_gumbel(4000, 32, **other)
        pair = torch.stack([noise.flatten(), second.flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() < limit


def test_an_element_depends_on_its_place_only() -> None:
    large = seeded_gumbel(300, 64, seed=7, stream=2)
    assert torch.equal(seeded_gumbel(100, 16, seed=7, stream=2), large[:100, :16])


def test_known_values() -> None:
    """Frozen: a change of these changes every restored picture."""
    noise = seeded_gumbel(3, 3, seed=0, stream=0)[[0, 1, 2], [0, 2, 1]]
    expected = torch.tensor([0.6053860783576965, 1.3845957517623901, 0.18036319315433502])
    torch.testing.assert_close(noise, expected)
    assert float(seeded_gumbel(9, 9, seed=12345678901, stream=7)[8, 8]) == pytest.approx(0.67787331)


def test_integer_and_tensor_mixers_agree() -> None:
    x = torch.tensor(
        [_signed(value) for value in (0, 1, 0xDEADBEEF, 0xFFFFFFFF)], dtype=torch.int32
    )
    mixed = [int(value) & 0xFFFFFFFF for value in _mix(x)]
    assert mixed == [_mix_int(value) for value in (0, 1, 0xDEADBEEF, 0xFFFFFFFF)]


def test_generators_are_not_advanced() -> None:
    before = torch.get_rng_state()
    seeded_gumbel(10, 10, seed=0, stream=0)
    assert torch.equal(before, torch.get_rng_state())
