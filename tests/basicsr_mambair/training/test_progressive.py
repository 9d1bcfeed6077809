"""Progressive learning: what a stage reads, what the log says, and a run that is stopped in one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY
from torch import nn
from torch.utils.data import Dataset

from basicsr_mambair.options import OptionError
from mambair.errors import UserError
from tests.basicsr_mambair.training.runs import Runs, contents, differences
from tests.basicsr_mambair.training.test_exact_resume import folder_for

SIX = {"iters": [2, 2, 3, 2, 2, 2], "gt_sizes": [8, 12, 16, 20, 24, 32],
       "mini_batch_sizes": [8, 5, 4, 2, 1, 1]}  # fmt: skip
PUBLISHED_TRAIN = {
    "ema_decay": 0, "total_iter": 13, "use_grad_clip": True,
    "optim_g": {"type": "AdamW", "lr": 3e-4, "weight_decay": 1e-4, "betas": [0.9, 0.999]},
    "scheduler": {"type": "CosineAnnealingRestartCyclicLR", "periods": [2, 11],
                  "restart_weights": [1, 1], "eta_mins": [3e-4, 1e-6]},
    "mixing_augs": {"mixup": True, "mixup_beta": 1.2, "use_identity": True},
    "pixel_opt": {"type": "L1Loss"},
}  # fmt: skip
UNET = {"type": "MambaIRUNet", "dim": 30, "num_blocks": [1, 1, 1, 1], "mlp_ratio": 1.0,
        "num_refinement_blocks": 1}  # fmt: skip
SWINIR = {"type": "SwinIR", "upscale": 1, "embed_dim": 8, "depths": [1], "num_heads": [2],
          "window_size": 4, "mlp_ratio": 2, "upsampler": "", "img_size": 8}  # fmt: skip
VAL = {"val_freq": 4, "window_size": 8, "rgb2bgr": True, "use_image": False, "max_minibatch": 8,
       "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}}  # fmt: skip


def published(network: dict, **changes: Any) -> dict[str, Any]:
    """A file of Restormer's kind, on the pairs' pictures as pairs of themselves."""
    data = {"type": "Dataset_PairedImage", "dataroot_gt": "HR", "dataroot_lq": "HR"}
    train = {**data, "geometric_augs": True, "num_worker_per_gpu": 0, "batch_size_per_gpu": 1,
             "gt_size": 32, **SIX}  # fmt: skip
    return contents(
        total=13, model_type="ImageCleanModel", scale=1, network_g=network,
        datasets={"train": train, "val": data}, train=PUBLISHED_TRAIN, val=VAL, **changes,
    )  # fmt: skip


def whole_and_parts(pairs: Path, options: dict[str, Any], *stops: int) -> tuple[Runs, Runs]:
    whole, parts = (Runs(folder_for(pairs, name)) for name in ("whole", "parts"))
    whole.train(options)
    for number, stop in enumerate(stops):
        parts.train(options, stop_after=stop, resume=number > 0)
        torch.rand(100)  # whatever else the process has drawn
    parts.train(options, resume=True)
    return whole, parts


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Any:
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the inputs that networks have been trained on."""
    from basicsr_mambair.models.restoration_model import RestorationModel

    shapes: list[tuple[int, ...]] = []
    step = RestorationModel.optimize_parameters

    def optimize_parameters(self: Any, current_iter: int) -> None:
        shapes.append(tuple(self.lq.shape))
        step(self, current_iter)

    monkeypatch.setattr(RestorationModel, "optimize_parameters", optimize_parameters)
    return shapes


@pytest.mark.parametrize("network", [UNET, SWINIR], ids=lambda each: each["type"])
def test_the_published_file_is_killed_in_stage_three_and_goes_on(
    network: dict, pairs: Path, batches: list, log: pytest.LogCaptureFixture
) -> None:
    # The last state is that of iteration 6, the second of stage 3.
    whole, parts = whole_and_parts(pairs, published(network), 7)
    shapes = [(batch, 3, size, size) for count, size, batch in zip(*SIX.values(), strict=True)
              for _ in range(count)]  # fmt: skip
    assert batches[:13] == shapes
    assert batches[13:] == shapes[:7] + shapes[6:]
    assert differences(whole.end(), parts.end()) == []
    assert whole.end()["state"]["position"] == 8 * 2 + 5 * 2 + 4 * 3 + 2 * 2 + 2 + 2
    for line in (
        "Stage 1: iterations 1 to 2; crops of 8×8, batches of 8",
        "Stage 6: iterations 12 to 13; crops of 32×32, batches of 1",
        "Stage 3 of 6 from iteration 5: crops of 16×16, batches of 4",
        "Stage 3 of 6 from iteration 7: crops of 16×16, batches of 4",  # continued
    ):
        assert line in log.text
    assert "changed" not in log.text, "the options of a resumed run are those that were saved"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [2, 4, 10])
def test_stopped_in_any_stage(stop: int, workers: int, pairs: Path) -> None:
    options = contents(total=13, logger__save_checkpoint_freq=1, train__gradient_accumulation=2,
                       train__mixup={"probability": 1})  # fmt: skip
    options["datasets"]["train"] |= {**SIX, "num_worker_per_gpu": workers}
    whole, parts = whole_and_parts(pairs, options, stop)
    assert differences(whole.end(), parts.end()) == []


def test_of_basicsr_alone(pairs: Path) -> None:
    """Its model and its dataset, which looks the size up for every sample."""
    train = {"type": "PairedImageDataset", "dataroot_gt": "HR", "dataroot_lq": "LR",
             "filename_tmpl": "{}x2", "num_worker_per_gpu": 0, **SIX}  # fmt: skip
    options = contents(total=13, model_type="SRModel", datasets__train=train)
    whole, parts = whole_and_parts(pairs, options, 6)
    assert differences(whole.end(), parts.end()) == []


DISCRIMINATOR = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}


def adversarial(**changes: Any) -> dict[str, Any]:
    gan = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1}
    options = contents(
        total=13, model_type="RestorationGANModel", network_d=DISCRIMINATOR,
        train__optim_d={"type": "Adam", "lr": 1e-3}, train__gan_opt=gan,
    )  # fmt: skip
    options["datasets"]["train"] |= {**SIX, **changes}
    return options


def test_against_a_discriminator(pairs: Path) -> None:
    options = adversarial(gt_sizes=[8, 16, 16, 24, 24, 32])
    whole, parts = whole_and_parts(pairs, options, 7)
    assert differences(whole.end(), parts.end()) == []


def test_crops_that_the_discriminator_does_not_take(pairs: Path) -> None:
    message = r"gt_sizes: UNetDiscriminatorSN does not take crops of 12×12: "
    with pytest.raises(OptionError, match=message):
        Runs(pairs).train(adversarial())


@pytest.mark.parametrize("queue", [0, 6])
def test_pictures_degraded_by_the_model(queue: int, pairs: Path, batches: list) -> None:
    """The margin around the crops stays; the pool begins anew with pairs of another size."""
    options = contents(
        total=13, model_type="RealESRNetModel", gt_usm=False, queue_size=queue, gt_size=32,
        degradation={"type": "bicubic"},
        datasets__train={"type": "RealESRGANDataset", "dataroot_gt": "HR", "crop_size": 40,
                         "num_worker_per_gpu": 0, "batch_size_per_gpu": 3, **SIX},
    )  # fmt: skip
    from basicsr_mambair.data import RealESRGANDataset

    section = {**options["datasets"]["train"], "phase": "train", "scale": 2,
               "dataroot_gt": str(pairs / "HR"), "gt_size": 12}  # fmt: skip
    assert RealESRGANDataset(section)[0]["gt"].shape == (3, 20, 20)
    options["model_type"] += "_mambair"
    whole, parts = whole_and_parts(pairs, options, 7)
    assert [shape[-1] * 2 for shape in batches[:13:2]] == [8, 12, 16, 16, 20, 24, 32]
    assert differences(whole.end(), parts.end()) == []


def test_stages_that_are_not_reached_are_named(pairs: Path, log: pytest.LogCaptureFixture) -> None:
    options = contents(total=5)
    options["datasets"]["train"] |= SIX
    Runs(pairs).train(options)
    assert "Stage 3: iterations 5 to 5; crops" in log.text
    assert "Stage 4: is not reached; crops of 20×20, batches of 2" in log.text


@DATASET_REGISTRY.register()
class _FixedCrops(Dataset):  # type: ignore[type-arg]
    """A dataset of the user's own, which asks for no size."""

    def __init__(self, opt: dict) -> None:
        self.opt = opt

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict:
        return {"lq": torch.zeros(3, 4, 4), "gt": torch.zeros(3, 8, 8), "gt_path": "x"}


def test_a_dataset_that_ignores_the_size(pairs: Path) -> None:
    train = {"type": "_FixedCrops", "num_worker_per_gpu": 0, "batch_size_per_gpu": 1, **SIX}
    with pytest.raises(UserError, match=r"gt_sizes: this stage has crops of 12×12, but _FixedCrops "
                                        "reads 8×8"):  # fmt: skip
        Runs(pairs).train(contents(datasets__train=train))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gt_sizes": [8, 12]}, "gt_sizes: has 2 entries where iters has 6"),
        ({"mini_batch_sizes": [1] * 7}, "mini_batch_sizes: has 7 entries where iters has 6"),
        ({"iters": None}, "gt_sizes: needs iters, the iterations of every stage"),
        ({"iters": []}, "iters: is empty; null stands for a single stage"),
        ({"gt_sizes": None, "mini_batch_sizes": None, "gt_size": 8},
         "iters: needs gt_sizes or mini_batch_sizes"),
        ({"gt_sizes": [8, 12, 17, 20, 24, 32]}, "gt_sizes: must be multiples of scale 2, got 17"),
        ({"gt_sizes": [8, 12, 16, 20, 24, 100]},
         r"gt_sizes: is 100, but HR/astronaut.png has 96×128 pixels"),
        ({"gt_sizes": [8, 12, 16, 20, 24, "x"]}, "gt_sizes: must be a list of whole numbers"),
        ({"mini_batch_sizes": [8, 5, 4, 0, 1, 1]}, "mini_batch_sizes: must be .* above 0"),
    ],
    ids=str,
)  # fmt: skip
def test_stages_that_cannot_be(changes: dict, message: str, pairs: Path) -> None:
    options = contents()
    options["datasets"]["train"] |= {**SIX, **changes}
    with pytest.raises(OptionError, match=rf"run\.yml:\d+: datasets\.train\.{message}"):
        Runs(pairs).train(options)
    assert not (pairs / "experiments").exists()


@ARCH_REGISTRY.register()
class _InWindows(nn.Module):  # a network of the user's own, which takes multiples of 8
    pass


@pytest.mark.parametrize(
    ("network", "scale", "message"),
    [
        ({"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "scale": 2}, 2,
         "multiples of 4, which RRDBNet needs, got 14"),
        ({"type": "_InWindows"}, 1, "multiples of 8, which _InWindows needs, got 12"),
    ],
    ids=["of BasicSR", "of another package"],
)  # fmt: skip
def test_crops_that_the_network_does_not_take(
    network: dict, scale: int, message: str, pairs: Path
) -> None:
    options = published(network) | {"scale": scale}
    options["datasets"]["train"]["gt_sizes"] = [8, 12, 16, 14, 24, 32]
    with pytest.raises(OptionError, match=rf"run\.yml:\d+: datasets\.train\.gt_sizes: .*{message}"):
        Runs(pairs).train(options)
