"""The GAN model: what each step changes, BasicSR's steps, losses of every kind, checkpoints."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.models import build_model
from basicsr.models.srgan_model import SRGANModel

from basicsr_mambair.models import RestorationGANModel
from mambair.checkpoint import load_checkpoint

GENERATOR = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
DISCRIMINATOR = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
GAN = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1}
RELATIVISTIC = {"type": "RelativisticGANLoss", "loss_weight": 0.1}


def model(kind: str = "RestorationGANModel", folder: Path | None = None, **train: Any) -> Any:
    opt: dict[str, Any] = {
        "model_type": kind, "num_gpu": 0, "dist": False, "rank": 0, "world_size": 1,
        "is_train": True, "scale": 2, "network_g": GENERATOR, "network_d": DISCRIMINATOR,
        "name": "x", "val": {},
        "path": {"models": str(folder), "training_states": str(folder)} if folder else {},
        "train": {
            "ema_decay": 0.5,
            "optim_g": {"type": "SGD", "lr": 0.1},
            "optim_d": {"type": "SGD", "lr": 0.1},
            "scheduler": {"type": "MultiStepLR", "milestones": [100], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
            "gan_opt": GAN,
            **train,
        },
    }  # fmt: skip
    torch.manual_seed(0)
    return build_model(copy.deepcopy(opt))


def batch(size: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "lq": torch.rand(size, 3, 8, 8, generator=generator),
        "gt": torch.rand(size, 3, 16, 16, generator=generator),
    }


def weights(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()]).clone()


def step(trained: Any, iteration: int = 1) -> dict[str, float]:
    trained.feed_data(batch())
    trained.optimize_parameters(iteration)
    logged: dict[str, float] = trained.log_dict
    return logged


def test_steps_are_basicsrs() -> None:
    ours, theirs = model(), model("SRGANModel")
    assert type(theirs) is SRGANModel
    for iteration in (1, 2, 3):
        logged, expected = step(ours, iteration), step(theirs, iteration)
        assert logged == pytest.approx(expected, rel=1e-5)
    for name in ("net_g", "net_d", "net_g_ema"):
        expected_weights = weights(getattr(theirs, name))
        torch.testing.assert_close(weights(getattr(ours, name)), expected_weights)


@pytest.mark.parametrize("gan", [GAN, RELATIVISTIC, {**GAN, "gan_type": "hinge"}])
def test_gradients_flow_only_where_they_should(
    gan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = model(gan_opt=gan)
    seen: dict[str, dict[str, bool]] = {}

    def gradients() -> dict[str, bool]:
        nets = {"g": trained.net_g, "d": trained.net_d}
        return {
            name: any(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
            for name, net in nets.items()
        }

    def before_step(which: str, optimizer: Any) -> None:
        original = optimizer.step

        def stepping(*args: Any, **kwargs: Any) -> Any:
            seen[which] = gradients()
            if which == "d":
                seen["kept"] = {"g": torch.equal(after_g["grad"], first_gradient())}
            result = original(*args, **kwargs)
            if which == "g":
                after_g.update(grad=first_gradient(), weights=weights(trained.net_g))
            return result

        monkeypatch.setattr(optimizer, "step", stepping)

    def first_gradient() -> torch.Tensor:
        return next(trained.net_g.parameters()).grad.clone()

    after_g: dict[str, torch.Tensor] = {}
    before_step("g", trained.optimizer_g)
    before_step("d", trained.optimizer_d)
    begin_d = weights(trained.net_d)
    step(trained)
    assert seen["g"] == {"g": True, "d": False}, "the generator's step feeds the discriminator"
    assert seen["d"]["d"]
    assert seen["kept"]["g"], "the discriminator's loss reaches the generator"
    assert torch.equal(weights(trained.net_g), after_g["weights"]), "changed by the other's step"
    assert not torch.equal(weights(trained.net_d), begin_d)
    assert all(p.requires_grad for p in trained.net_d.parameters())
    assert all(p.grad is None for p in trained.net_g_ema.parameters())


def test_accumulation_is_the_whole_batch() -> None:
    whole, parts = model(), model(gradient_accumulation=2)
    # The estimate of the spectral norm moves with every pass, so it is held.
    for trained in (whole, parts):
        trained.net_d.eval()
    assert step(parts) == pytest.approx(step(whole), rel=1e-5)
    for name in ("net_g", "net_d"):
        expected = weights(getattr(whole, name))
        torch.testing.assert_close(weights(getattr(parts, name)), expected, rtol=1e-3, atol=1e-5)


def test_clipping_holds_for_both() -> None:
    trained = model(grad_clip_norm=1e-4)
    begin_g, begin_d = weights(trained.net_g), weights(trained.net_d)
    logged = step(trained)
    assert logged["grad_norm"] > 1e-4
    assert logged["grad_norm_d"] > 1e-4
    for begin, net in ((begin_g, trained.net_g), (begin_d, trained.net_d)):
        assert (weights(net) - begin).norm() == pytest.approx(0.1 * 1e-4, rel=0.05)


def test_when_each_network_learns() -> None:
    trained = model(net_d_iters=2, net_d_init_iters=2)
    moved = []
    for iteration in range(1, 6):
        begin_g, begin_d = weights(trained.net_g), weights(trained.net_d)
        logged = step(trained, iteration)
        moved.append(not torch.equal(weights(trained.net_g), begin_g))
        assert not torch.equal(weights(trained.net_d), begin_d)
        assert ("l_g_gan" in logged) is moved[-1]
        assert "l_d_real" in logged
    assert moved == [False, False, False, True, False]


@pytest.mark.parametrize("loss", ["L1Loss", "LDLLoss"])
def test_ldl(loss: str) -> None:
    trained = model(ldl_opt={"type": loss, "loss_weight": 1.0})
    step(trained)  # averaged weights and weights are the same at first
    assert step(trained, 2)["l_g_ldl"] > 0
    with pytest.raises(ValueError, match=r"^train.ldl_opt: .* set ema_decay"):
        RestorationGANModel.check_options(
            {
                "is_train": True,
                "network_g": GENERATOR,
                "train": {"gan_opt": GAN, "ldl_opt": {"type": loss}},
            }
        )


def test_relativistic_losses_are_logged() -> None:
    logged = step(model(gan_opt=RELATIVISTIC))
    assert list(logged) == ["l_g_pix", "l_g_gan", "l_d", "out_d_real", "out_d_fake"]


@pytest.mark.parametrize("amp", ["bf16"])
def test_mixed_precision(amp: str) -> None:
    full, mixed = step(model()), step(model(amp=amp))
    assert mixed == pytest.approx(full, rel=0.05, abs=0.02)


def test_a_loss_that_is_not_finite_changes_neither_network() -> None:
    trained = model()
    nets = (trained.net_g, trained.net_d, trained.net_g_ema)
    begin = [weights(net) for net in nets]
    trained.feed_data({**batch(), "gt": torch.full((4, 3, 16, 16), float("nan"))})
    trained.optimize_parameters(1)
    assert math.isnan(trained.log_dict["l_g_pix"])
    assert math.isnan(trained.log_dict["l_d_real"])
    assert all(torch.equal(weights(net), each) for net, each in zip(nets, begin, strict=True))
    assert all(map(math.isfinite, step(trained, 2).values()))


def test_both_networks_come_back(tmp_path: Path) -> None:
    trained = model(folder=tmp_path)
    for iteration in (1, 2):
        step(trained, iteration)
    trained.save(0, 2)
    expected = step(trained, 3)

    resumed = model(folder=tmp_path)
    for label in ("net_g", "net_d"):
        resumed.load_network(getattr(resumed, label), str(tmp_path / f"{label}_2.pth"))
    resumed.load_network(resumed.net_g_ema, str(tmp_path / "net_g_2.pth"), True, "params_ema")
    resumed.resume_training(load_checkpoint(str(tmp_path / "2.state")))
    assert step(resumed, 3) == pytest.approx(expected)
    for name in ("net_g", "net_d", "net_g_ema"):
        assert torch.equal(weights(getattr(resumed, name)), weights(getattr(trained, name)))
