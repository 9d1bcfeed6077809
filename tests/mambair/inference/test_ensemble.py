"""The mean over the eight orientations."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from mambair.inference.ensemble import self_ensemble


def test_an_identity_stays_one() -> None:
    x = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(self_ensemble(lambda each: each, x), x)


def test_the_result_turns_with_the_picture() -> None:
    """A network that sees one neighbor becomes one that treats all directions alike."""
    weight = torch.rand(1, 1, 3, 3)

    def net(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(F.conv2d(x, weight, padding=1), scale_factor=2)

    x = torch.rand(1, 1, 6, 9)
    y = self_ensemble(net, x)
    assert y.shape == (1, 1, 12, 18)
    assert not torch.allclose(net(x.flip(-1)), net(x).flip(-1), atol=1e-3)
    for turned, expected in (
        (x.flip(-1), y.flip(-1)),
        (x.flip(-2), y.flip(-2)),
        (x.transpose(-2, -1), y.transpose(-2, -1)),
        (x.rot90(1, (-2, -1)), y.rot90(1, (-2, -1))),
    ):
        torch.testing.assert_close(self_ensemble(net, turned), expected)


def test_it_runs_the_network_eight_times_on_different_pictures() -> None:
    seen = []

    def net(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return x

    self_ensemble(net, torch.rand(1, 1, 4, 4))
    assert len(seen) == 8
    assert len({tuple(each.flatten().tolist()) for each in seen}) == 8
