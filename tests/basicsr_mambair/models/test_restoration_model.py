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

from mambair.checkpoint import load_checkpoint
from mambair.imaging.resizing import imresize
from tests.conftest import photograph, tiny_network

# A network without random routing, so that parts of a batch give what the whole gives.
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


def test_a_loss_that_is_not_finite_stops_before_the_step() -> None:
    trained = model()
    before = copy.deepcopy(trained.net_g.state_dict())
    data = batch()
    data["gt"][0, 0, 0, 0] = float("nan")
    trained.feed_data(data)
    with pytest.raises(FloatingPointError, match="iteration 7: loss l_pix is nan"):
        trained.optimize_parameters(7)
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


def test_gradients_that_are_not_finite_stop_before_the_step() -> None:
    trained = model(train={"grad_clip_norm": 1.0})
    before = copy.deepcopy(trained.net_g.state_dict())
    trained.net_g.conv_first.weight.register_hook(lambda grad: grad * float("inf"))
    trained.feed_data(batch())
    with pytest.raises(FloatingPointError, match="iteration 3: the norm of the gradients is"):
        trained.optimize_parameters(3)
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
