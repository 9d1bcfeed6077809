"""Real-ESRGAN's models on this package: batches degraded on the fly, targets, pool, resuming."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.models import build_model
from basicsr.utils import USMSharp

from basicsr_mambair.data.degradations import build_degradation
from basicsr_mambair.models import RealESRGANModel, RealESRNetModel, is_own_model
from basicsr_mambair.models.pair_pool import PairPool
from basicsr_mambair.models.usm import sharpen_by_usm
from mambair.checkpoint import load_checkpoint
from tests.basicsr_mambair.models.test_gan_model import DISCRIMINATOR, GAN, GENERATOR, weights
from tests.conftest import photograph

MODELS = {"RealESRNetModel_mambair": RealESRNetModel, "RealESRGANModel_mambair": RealESRGANModel}


def options(kind: str, folder: Path | None = None, **top: Any) -> dict[str, Any]:
    opt: dict[str, Any] = {
        "model_type": kind, "num_gpu": 0, "dist": False, "rank": 0, "world_size": 1,
        "is_train": True, "scale": 2, "network_g": GENERATOR, "name": "x", "val": {},
        "manual_seed": 3, "gt_size": 32, "queue_size": 0, "degradation": {"type": "phone"},
        "datasets": {"train": {"type": "RealESRGANDataset"}},
        "path": {"models": str(folder), "training_states": str(folder)} if folder else {},
        "train": {
            "ema_decay": 0.5,
            "optim_g": {"type": "SGD", "lr": 0.1},
            "scheduler": {"type": "MultiStepLR", "milestones": [100], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
    }  # fmt: skip
    if "GAN" in kind:
        opt["network_d"] = DISCRIMINATOR
        opt["train"] |= {"gan_opt": GAN, "optim_d": {"type": "SGD", "lr": 0.1}}
    return {**opt, **top}


def model(kind: str = "RealESRGANModel_mambair", **top: Any) -> Any:
    torch.manual_seed(0)
    return build_model(copy.deepcopy(options(kind, **top)))


def pictures(size: int = 4, side: int = 48) -> torch.Tensor:
    image = torch.from_numpy(photograph("coffee", side + size, side)[..., ::-1].copy())
    image = image.permute(2, 0, 1).float() / 255
    return torch.stack([image[:, each : each + side] for each in range(size)])


def batch(size: int = 4, first_seed: int = 10) -> dict[str, Any]:
    return {
        "gt": pictures(size),
        "degradation_seed": torch.arange(first_seed, first_seed + size),
    }


@pytest.mark.parametrize("kind", MODELS)
def test_the_input_is_the_degradation_drawn_from_the_seed_of_the_sample(kind: str) -> None:
    trained = model(kind, gt_usm=False)
    assert type(trained) is MODELS[kind]
    assert is_own_model(kind)
    data = batch()
    trained.feed_data(data)
    assert trained.lq.shape == (4, 3, 16, 16)
    assert trained.gt.shape == (4, 3, 32, 32)
    phone = build_degradation({"type": "phone"}, 2)
    for place, seed in enumerate(data["degradation_seed"].tolist()):
        drawn = phone.draw(np.random.default_rng(seed))
        whole = phone.apply_batch(data["gt"][place : place + 1], [drawn])[0]
        top, left = trained.drawn[place]["corner"]
        torch.testing.assert_close(
            trained.lq[place], whole[:, top : top + 16, left : left + 16], rtol=0, atol=1.01 / 255
        )
        window = data["gt"][place, :, top * 2 : top * 2 + 32, left * 2 : left * 2 + 32]
        assert torch.equal(trained.gt[place], window)
        # What was drawn can be written down and applied again.
        again = json.loads(json.dumps(trained.drawn[place]["degradation"]))
        assert torch.equal(phone.apply_batch(data["gt"][place : place + 1], [again])[0], whole)
    assert torch.equal((trained.lq * 255).round() / 255, trained.lq)


def test_draws_do_not_depend_on_batches_or_global_generators() -> None:
    whole, single = model(), model()
    data = batch()
    whole.feed_data(data)
    torch.manual_seed(99)
    np.random.seed(99)
    single.feed_data({key: value[2:3] for key, value in data.items()})
    assert torch.equal(single.lq[0], whole.lq[2])
    assert torch.equal(single.gt[0], whole.gt[2])


def test_a_batch_without_seeds_is_drawn_from_the_iteration() -> None:
    data = {"gt": pictures()}
    first, second = model(), model()
    inputs = []
    for iteration in (1, 2):
        first.update_learning_rate(iteration)
        first.feed_data(data)
        inputs.append(first.lq)
    second.update_learning_rate(2)  # as after a resume
    second.feed_data(data)
    assert torch.equal(second.lq, inputs[1])
    assert not torch.equal(*inputs)
    other = model(manual_seed=4)
    other.feed_data(data)
    assert not torch.equal(other.lq, inputs[0])


def test_pairs_are_taken_as_they_are() -> None:
    trained = model()
    pair = {"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 32, 32)}
    trained.feed_data(pair)
    assert torch.equal(trained.lq, pair["lq"])
    trained.optimize_parameters(1)
    assert not hasattr(model(high_order_degradation=False), "pool")


def test_usm_is_basicsrs() -> None:
    image = pictures(2, 64)
    torch.testing.assert_close(sharpen_by_usm(image), USMSharp()(image), rtol=0, atol=2e-6)
    flat = torch.full((1, 3, 30, 30), 0.3)
    torch.testing.assert_close(sharpen_by_usm(flat), flat)
    for height, width in ((26, 25), (5, 3), (1, 1)):  # smaller than the kernel
        small = flat[..., :height, :width]
        torch.testing.assert_close(sharpen_by_usm(small), small)


def test_which_truths_are_sharpened() -> None:
    trained = model(l1_gt_usm=True, percep_gt_usm=False, gan_gt_usm=False)
    trained.feed_data(batch())
    truths = trained.truths(trained.gt)
    assert set(truths) == {"pixel"}
    torch.testing.assert_close(truths["pixel"], sharpen_by_usm(trained.gt))
    trained.optimize_parameters(1)
    output = trained.net_g_ema(trained.lq)  # moved; so the loss is computed anew below
    assert output.shape == trained.gt.shape
    both = model(l1_gt_usm=True, percep_gt_usm=True, gan_gt_usm=True)
    assert set(both.truths(trained.gt)) == {"pixel", "perceptual", "gan"}

    net = model("RealESRNetModel_mambair", gt_usm=True)
    plain = model("RealESRNetModel_mambair", gt_usm=False)
    for each in (net, plain):
        each.feed_data(batch())
    assert not torch.equal(net.gt, plain.gt)
    assert not torch.equal(net.lq, plain.lq), "the input is made of the sharpened picture"


def test_the_pool_keeps_every_pair_once() -> None:
    pool = PairPool(5, seed=1)
    given, returned = [], []
    for iteration in range(1, 9):
        lq = torch.full((2, 1, 1, 1), float(iteration)) + torch.tensor([0.0, 0.5]).view(2, 1, 1, 1)
        out_lq, out_gt = pool.exchange(lq, lq * 2, iteration)
        assert torch.equal(out_gt, out_lq * 2)
        given += lq.flatten().tolist()
        if iteration > 3:  # the pool is full
            returned += out_lq.flatten().tolist()
        elif iteration < 3:
            assert torch.equal(out_lq, lq), "while it fills, batches pass through"
    kept = [float(pair[0]) for pair in pool.pairs]
    assert len(kept) == 5
    assert len(set(kept)) == 5
    assert not set(kept) & set(returned)
    assert set(kept) <= set(given)


def test_the_state_of_the_pool_loses_nothing() -> None:
    whole_levels = (torch.rand(3, 3, 4, 4) * 255).round() / 255
    for gt in (whole_levels, torch.rand(3, 3, 4, 4)):
        pool = PairPool(4)
        pool.exchange(whole_levels, gt, 1)
        state = pool.state()
        assert state["lq"].dtype == torch.uint8
        assert (state["gt"].dtype == torch.uint8) is (gt is whole_levels)
        other = PairPool(4)
        other.load_state(state)
        assert all(
            torch.equal(a, b)
            for mine, own in zip(pool.pairs, other.pairs, strict=True)
            for a, b in zip(mine, own, strict=True)
        )
    assert PairPool(4).state() == {}


def test_a_resumed_training_is_the_one_that_went_on(tmp_path: Path) -> None:
    def run(trained: Any, iterations: range) -> dict[str, float]:
        for iteration in iterations:
            trained.update_learning_rate(iteration)
            trained.feed_data(batch(first_seed=100 * iteration))
            trained.optimize_parameters(iteration)
        logged: dict[str, float] = trained.log_dict
        return logged

    trained = model(folder=tmp_path, queue_size=6)
    run(trained, range(1, 4))
    trained.save(0, 3)
    expected = run(trained, range(4, 6))

    resumed = model(folder=tmp_path, queue_size=6)
    for label in ("net_g", "net_d"):
        resumed.load_network(getattr(resumed, label), str(tmp_path / f"{label}_3.pth"))
    resumed.load_network(resumed.net_g_ema, str(tmp_path / "net_g_3.pth"), True, "params_ema")
    resumed.resume_training(load_checkpoint(str(tmp_path / "3.state")))
    assert run(resumed, range(4, 6)) == expected
    for name in ("net_g", "net_d", "net_g_ema"):
        assert torch.equal(weights(getattr(resumed, name)), weights(getattr(trained, name)))


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ({"gt_size": 33}, "gt_size: must be a multiple of scale 2, got 33"),
        ({"gt_size": None}, "gt_size: is missing, here and in datasets.train"),
        ({"degradation": {"type": "phone", "quality": [0, 5]}}, "degradation.quality: must be"),
        ({"degradation": {"type": "gaussian_noise", "sigma": 3}}, "degradation: must shrink by"),
        ({"datasets": {"train": {"crop_size": 30}}}, "gt_size: must be at most crop_size 30"),
        (
            {"datasets": {"train": {"type": "x", "dataroot_lq": "LR"}}},
            "high_order_degradation: must be false to train on the pairs that x reads",
        ),
    ],
)
def test_options_that_cannot_work(top: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        RealESRGANModel.check_options(options("RealESRGANModel_mambair", **top))
