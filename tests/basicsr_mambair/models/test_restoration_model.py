"""The model: steps, tiling and validation."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.data import build_dataset
from basicsr.models import build_model
from basicsr.utils.registry import LOSS_REGISTRY, MODEL_REGISTRY
from torch import nn

from basicsr_mambair.models import RestorationModel, is_own_model
from mambair.checkpoint import load_checkpoint
from mambair.imaging.resizing import imresize
from tests.conftest import photograph, tiny_network

# A network without random routing, so that parts of a batch give the result of the whole.
PLAIN = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}


def model(network: dict = PLAIN, is_train: bool = True, **changes: Any) -> Any:
    opt = {
        "model_type": "MambaIRv2Model", "num_gpu": 0, "dist": False, "rank": 0, "world_size": 1,
        "is_train": is_train, "scale": 2, "network_g": network, "path": {}, "name": "x",
        "train": {
            "ema_decay": 0.5,
            "optim_g": {"type": "SGD", "lr": 0.1},
            "scheduler": {"type": "MultiStepLR", "milestones": [100], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {"save_img": False, "metrics": {
            "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}},
    }  # fmt: skip
    for section, values in changes.items():
        opt[section] = {**opt[section], **values}
    torch.manual_seed(0)
    return build_model(copy.deepcopy(opt))


def batch(size: int = 4) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        "lq": torch.rand(size, 3, 8, 8, generator=generator),
        "gt": torch.rand(size, 3, 16, 16, generator=generator),
    }


def test_the_published_names_are_the_model() -> None:
    registered = {
        name
        for name, cls in MODEL_REGISTRY
        if issubclass(cls, RestorationModel) and cls.__module__.startswith("basicsr_mambair.")
    }
    assert registered == {
        "RestorationModel", "MambaIRModel", "MambaIRv2Model", "MambaIRv2LightModel",
        "ImageCleanModel", "RestorationGANModel", "RealESRNetModel_mambair",
        "RealESRGANModel_mambair",
    }  # fmt: skip
    assert all(map(is_own_model, registered))
    assert not is_own_model("SRModel")


@LOSS_REGISTRY.register()
class _Brightness(nn.Module):
    """Weighted distance of the means: an example of a user's own loss."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.loss_weight * (pred.mean() - target.mean()).abs()


def test_every_loss_of_train_is_computed_and_logged() -> None:
    sections = {
        "brightness_opt": {"type": "_Brightness", "loss_weight": 3.0},
        "smooth_opt": {"type": "WeightedTVLoss", "loss_weight": 0.5},
    }
    trained = model(train=sections)
    data = batch()
    trained.feed_data(data)
    with torch.no_grad():
        output = trained.net_g(data["lq"])
    trained.optimize_parameters(1)
    expected = {
        "l_pix": (output - data["gt"]).abs().mean(),
        "l_brightness": 3 * (output.mean() - data["gt"].mean()).abs(),
        "l_smooth": 0.5 * (output.diff(dim=-1).abs().mean() + output.diff(dim=-2).abs().mean()),
    }
    assert list(trained.log_dict) == list(expected)
    for name, value in expected.items():
        assert trained.log_dict[name] == pytest.approx(float(value), rel=1e-5), name
    # Each changes the weights: without one of them, the step differs.
    together = torch.cat([p.detach().flatten() for p in trained.net_g.parameters()])
    for left_out in sections:
        rest = {key: value for key, value in sections.items() if key != left_out}
        assert not torch.allclose(weights_after_a_step(**rest), together, atol=1e-6)


def test_a_loss_without_pixel_opt_trains() -> None:
    trained = model(train={"pixel_opt": None, "brightness_opt": {"type": "_Brightness"}})
    trained.feed_data(batch())
    trained.optimize_parameters(1)
    assert list(trained.log_dict) == ["l_brightness"]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"gan_opt": {"type": "GANLoss", "gan_type": "vanilla"}},
         "train.gan_opt: needs a discriminator, which model_type RestorationGANModel"),
        ({"pixel_opt": {"type": "GANLoss", "gan_type": "vanilla"}}, "train.pixel_opt: needs a dis"),
        ({"pixel_opt": None}, "train.pixel_opt: is missing; training needs at least one loss"),
        ({"warm_start": "bicubic"}, "train.warm_start: MSRResNet does not support it"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_named(train: dict, message: str) -> None:
    options = {"is_train": True, "network_g": PLAIN, "train": {
        "pixel_opt": {"type": "L1Loss"}, **train}}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        RestorationModel.check_options(options)


@pytest.mark.parametrize(
    "network",
    [
        {"type": "SwinIR", "upscale": 2, "img_size": 16, "window_size": 8, "embed_dim": 12,
         "depths": [2], "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffledirect"},
        {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1,
         "upscale": 2},
    ],
    ids=lambda network: network["type"],
)  # fmt: skip
def test_networks_of_basicsr_validate_at_any_size(network: dict) -> None:
    tested = model(network)
    tested.feed_data(batch())
    tested.optimize_parameters(1)
    tested.feed_data({"lq": torch.rand(1, 3, 21, 27)})
    tested.test()
    assert tested.output.shape == (1, 3, 42, 54)


def test_the_average_follows_the_statistics_of_norms() -> None:
    trained = model()
    for net in (trained.net_g, trained.net_g_ema):
        net.register_buffer("running_mean", torch.zeros(2))
    trained.net_g.running_mean.fill_(3.0)
    trained.model_ema(0.9)
    assert torch.equal(trained.net_g_ema.running_mean, torch.full((2,), 3.0))


def weights_after_a_step(**train: Any) -> torch.Tensor:
    trained = model(train=train)
    trained.feed_data(batch())
    trained.optimize_parameters(1)
    return torch.cat([p.detach().flatten() for p in trained.net_g.parameters()])


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_is_the_whole_batch(parts: int) -> None:
    torch.testing.assert_close(
        weights_after_a_step(gradient_accumulation=parts), weights_after_a_step(), atol=1e-6, rtol=0
    )


def test_gradients_are_clipped() -> None:
    before = model()
    start = torch.cat([p.detach().flatten() for p in before.net_g.parameters()])
    free = (weights_after_a_step() - start).norm() / 0.1
    clipped = (weights_after_a_step(grad_clip_norm=0.01) - start).norm() / 0.1
    assert float(free) > 0.02
    assert float(clipped) == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize("name", ["AdamW", "RMSprop", "NAdam"])
def test_any_optimizer(name: str) -> None:
    trained = model(train={"optim_g": {"type": name, "lr": 1e-3}})
    assert type(trained.optimizer_g).__name__ == name


def test_ema_follows() -> None:
    trained = model()
    start = trained.net_g_ema.conv_first.weight.clone()
    assert torch.equal(start, trained.net_g.conv_first.weight)
    trained.feed_data(batch())
    trained.optimize_parameters(1)
    expected = 0.5 * start + 0.5 * trained.net_g.conv_first.weight
    torch.testing.assert_close(trained.net_g_ema.conv_first.weight, expected)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    trained = model()
    before = copy.deepcopy(trained.net_g.state_dict())
    data = batch()
    data["gt"][0, 0, 0, 0] = float("nan")
    trained.feed_data(data)
    trained.optimize_parameters(7)
    assert math.isnan(trained.log_dict["l_pix"])
    for name, value in trained.net_g.state_dict().items():
        assert torch.equal(value, before[name])


def test_warm_start_reaches_the_ema_network() -> None:
    trained = model(tiny_network(), train={"warm_start": "bicubic"})
    assert not trained.net_g.conv_after_body.weight.any()
    for own, ema in zip(trained.net_g.parameters(), trained.net_g_ema.parameters(), strict=True):
        assert torch.equal(own, ema)


@pytest.mark.parametrize("tile", ["authors", "none", 64])
def test_tiles_are_those_of_the_options(tile: str | int) -> None:
    tested = model(tiny_network(routing="argmax"), is_train=False, val={"tile": tile})
    tested.feed_data({"lq": torch.rand(1, 3, 20, 210)})
    sizes = []
    tested.net_g.register_forward_pre_hook(lambda net, x: sizes.append(x[0].shape[-1]))
    tested.test()
    assert tested.output.shape == (1, 3, 40, 420)
    assert sizes == {"authors": [115, 115], "none": [210], 64: [64] * 5}[tile]


def test_validation_reports_the_baseline(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    section = {
        "type": "DegradedImageDataset", "name": "three", "phase": "val", "scale": 2,
        "dataroot_gt": str(pairs / "HR"),
    }  # fmt: skip
    loader = torch.utils.data.DataLoader(build_dataset(section))
    trained = model(tiny_network(), train={"warm_start": "bicubic"}, val={"baseline": "bicubic"})
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    try:
        trained.validation(loader, 1, None)
    finally:
        logger.removeHandler(caplog.handler)
    from basicsr.metrics import calculate_psnr
    from basicsr.utils import tensor2img

    expected = sum(
        calculate_psnr(
            imresize(tensor2img(sample["lq"]), 2), tensor2img(sample["gt"]), 2, test_y_channel=True
        )
        for sample in loader
    ) / len(loader)
    line = next(r.getMessage() for r in caplog.records if "three, bicubic" in r.getMessage())
    assert f"# psnr: {expected:.4f}\tnetwork: " in line
    assert trained.metric_results["psnr"] == pytest.approx(expected, abs=0.2)


def test_gradients_that_are_not_finite_change_nothing() -> None:
    trained = model(train={"grad_clip_norm": 1.0})
    before = copy.deepcopy(trained.net_g.state_dict())
    trained.net_g.conv_first.weight.register_hook(lambda grad: grad * float("inf"))
    trained.feed_data(batch())
    trained.optimize_parameters(3)
    assert not math.isfinite(trained.log_dict["grad_norm"])
    for name, value in trained.net_g.state_dict().items():
        assert torch.equal(value, before[name])


def losses(iterations: int, **train: Any) -> list[float]:
    """Losses of training on crops of a photograph."""
    trained = model(
        tiny_network(),
        train={"optim_g": {"type": "Adam", "lr": 2e-4}, "warm_start": "bicubic", **train},
    )
    picture = torch.from_numpy(photograph("astronaut", 128, 128)).permute(2, 0, 1) / 255
    generator = torch.Generator().manual_seed(0)
    history = []
    for iteration in range(1, iterations + 1):
        y, x = torch.randint(0, 96, (2, 4), generator=generator).tolist()
        gt = torch.stack([picture[:, j : j + 32, i : i + 32] for j, i in zip(y, x, strict=True)])
        lq = torch.nn.functional.interpolate(gt, scale_factor=0.5, mode="bicubic", antialias=True)
        trained.feed_data({"lq": lq, "gt": gt})
        trained.optimize_parameters(iteration)
        history.append(trained.log_dict["l_pix"])
    return history


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_trains(amp: str) -> None:
    full, mixed = (losses(25, amp=kind, grad_clip_norm=1.0) for kind in (None, amp))
    assert all(math.isfinite(loss) for loss in mixed)
    assert mixed[0] == pytest.approx(full[0], rel=0.05)
    assert sum(mixed[-5:]) == pytest.approx(sum(full[-5:]), rel=0.2)


def test_the_scale_of_the_loss_is_resumed(tmp_path: Path) -> None:
    paths = {"models": str(tmp_path), "training_states": str(tmp_path)}
    trained = model(train={"amp": "fp16"}, path=paths)
    data = batch()
    trained.feed_data(data)
    trained.optimize_parameters(1)
    trained.scaler.update(4.0)
    trained.save_training_state(0, 1)
    state = load_checkpoint(tmp_path / "1.state")
    resumed = model(train={"amp": "fp16"}, path=paths)
    resumed.resume_training(state)
    assert resumed.scaler.get_scale() == 4.0


def test_compiled_training_is_training() -> None:
    compiled = model(tiny_network(), train={"compile": "aot_eager"})
    assert set(compiled.net_g.state_dict()) == set(model(tiny_network()).net_g.state_dict())
    assert losses(2, compile="aot_eager") == pytest.approx(losses(2), rel=1e-3)


@pytest.mark.parametrize(("seed", "noise"), [(0, "fused"), (None, "global")])
def test_training_noise(seed: int | None, noise: str) -> None:
    trained = model(tiny_network(routing_seed=seed))
    assert trained.net_g.training_noise == noise
