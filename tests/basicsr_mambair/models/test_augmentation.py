"""Mixup and CutBlur: what they do to a batch, and that they are drawn from seed and iteration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from basicsr_mambair.models.augmentation import BatchAugmentation, cutblur, mixup
from tests.basicsr_mambair.models.test_restoration_model import batch, model


def pair(scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lq = torch.rand(4, 3, 20, 24, generator=generator)
    return lq, torch.rand(4, 3, 20 * scale, 24 * scale, generator=generator)


def test_mixup_mixes_inputs_and_truths_alike() -> None:
    # A truth that is a linear function of the input remains so.
    lq = pair(1)[0]
    mixed, truth = mixup(lq, 2 * lq + 1, 1.2, np.random.default_rng(3))
    torch.testing.assert_close(truth, 2 * mixed + 1)
    assert not torch.equal(mixed, lq)
    torch.testing.assert_close(mixed.mean(dim=0), lq.mean(dim=0))  # every picture has its share


@pytest.mark.parametrize("scale", [1, 2])
def test_cutblur_takes_a_rectangle_from_the_truth(scale: int) -> None:
    lq, gt = pair(scale)
    clean = gt
    if scale > 1:
        size = lq.shape[-2:]
        clean = F.interpolate(gt, size, mode="bicubic", antialias=True).clamp(0, 1)
    kinds = set()
    for seed in range(8):
        cut = cutblur(lq, gt, 0.5, np.random.default_rng(seed))
        from_truth = (cut == clean).all(dim=0).all(dim=0)
        from_input = (cut == lq).all(dim=0).all(dim=0)
        assert (from_truth ^ from_input).all()
        for inside in (from_truth, from_input):
            rows, columns = inside.any(dim=1), inside.any(dim=0)
            if int(rows.sum()) < 20:  # the rectangle; the other one is its surroundings
                kinds.add(inside is from_truth)
                assert inside[rows][:, columns].all()
                assert abs(int(rows.sum()) - 10) <= 1
                assert abs(int(columns.sum()) - 12) <= 1
    assert kinds == {True, False}


def test_cutblur_changes_nothing_where_pictures_are_only_shrunk() -> None:
    gt = pair(2)[1]
    lq = F.interpolate(gt, (20, 24), mode="bicubic", antialias=True).clamp(0, 1)
    assert torch.equal(cutblur(lq, gt, 0.5, np.random.default_rng(0)), lq)


def test_draws_follow_seed_process_and_iteration() -> None:
    sections = {"mixup": {}, "cutblur": {"probability": 0.8, "ratio": 0.6}}
    lq, gt = pair(2)

    def inputs(seed: int = 0, rank: int = 0) -> list[torch.Tensor]:
        augment = BatchAugmentation(sections, seed, rank)
        return [augment(lq, gt, iteration)[0] for iteration in range(20)]

    first = inputs()
    assert all(map(torch.equal, first, inputs()))
    for others in (inputs(seed=1), inputs(rank=1)):
        assert not all(map(torch.equal, first, others))
    assert any(torch.equal(each, lq) for each in first)  # some batches stay as they are
    assert not torch.equal(first[1], first[2])


@pytest.mark.parametrize("section", [None, {"probability": 0}])
def test_without_it_the_batch_is_the_same(section: dict | None) -> None:
    lq, gt = pair(2)
    augment = BatchAugmentation({"mixup": section, "cutblur": section})
    assert all(augment(lq, gt, i)[0] is lq and augment(lq, gt, i)[1] is gt for i in range(5))


def test_a_step_sees_the_augmented_batch() -> None:
    trained = model(train={"mixup": {"probability": 1}, "cutblur": {"probability": 1}})
    data = batch()
    trained.feed_data(data)
    lq, gt = trained.augmentation(data["lq"], data["gt"], 7)
    with torch.no_grad():
        expected = (trained.net_g(lq) - gt).abs().mean()
    trained.optimize_parameters(7)
    assert trained.log_dict["l_pix"] == pytest.approx(float(expected), rel=1e-5)
