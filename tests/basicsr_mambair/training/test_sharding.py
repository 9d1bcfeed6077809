"""A training whose weights are shared out among processes is the training by one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import basicsr_mambair  # noqa: F401  (before BasicSR)
from basicsr_mambair.options import OptionError, load_options
from basicsr_mambair.sharding import ShardingError, check_parameters
from mambair.checkpoint import load_checkpoint
from tests.basicsr_mambair.processes import OUTPUT, Job, run
from tests.basicsr_mambair.training.runs import contents, differences
from tests.basicsr_mambair.training.test_processes import BATCH, losses, prepare
from tests.conftest import tiny_network


def sharded(total: int = 10, **changes: Any) -> dict[str, Any]:
    return contents(**{"total": total, "train__sharding": "fsdp2", **changes})


def latest(job: Job) -> dict[str, Any]:
    models = Path(job.folder, "experiments", "run", "models")
    return load_checkpoint(models / "net_g_latest.pth")


def state(job: Job, iteration: int) -> dict[str, Any]:
    folder = Path(job.folder, "experiments", "run", "training_states")
    return load_checkpoint(folder / f"{iteration}.state")


def check_close(first: Any, second: Any) -> None:
    """Compares nested containers within the rounding of another order of sums."""
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def continued(job: Job, processes: int, options: dict[str, Any]) -> Job:
    """Goes on with a run on another number of processes."""
    options["datasets"]["train"]["batch_size_per_gpu"] = BATCH // processes
    name = f"{processes}-{options['train'].get('sharding')}.yml"
    Path(job.folder, name).write_text(yaml.safe_dump(options))
    return Job(job.folder, processes, ["train", "-opt", name, "--auto_resume"])


@pytest.mark.slow
def test_two_processes_with_parts_are_one(pairs: Path) -> None:
    """Losses, weights, averages, optimizer, figures; and each goes on from the other's state."""
    common: dict[str, Any] = {
        "network_g": tiny_network(), "train__grad_clip_norm": 0.5,
        "train__gradient_accumulation": 2, "logger__keep_best": "psnr",
    }  # fmt: skip
    one = prepare(pairs, "one", 1, contents(total=10, **common))
    two = prepare(pairs, "two", 2, sharded(**common))
    run(one, two)
    assert len(losses(one)) == 10
    assert losses(two) == pytest.approx(losses(one), rel=5e-4)
    assert latest(two).keys() == latest(one).keys() >= {"params", "params_ema", "network"}
    check_close(latest(two)["params_ema"], latest(one)["params_ema"])
    for first, second in zip(
        state(one, 10)["optimizers"], state(two, 10)["optimizers"], strict=True
    ):
        assert first["state"][0].keys() == second["state"][0].keys()
        check_close(first["state"], second["state"])
    assert Path(two.folder, "experiments", "run", "models", "net_g_best_psnr.pth").exists()

    more = contents(total=14, **common)
    run(continued(two, 1, more), continued(one, 2, sharded(14, **common)))
    text = Path(two.folder, OUTPUT).read_text()
    assert "train.sharding: 'fsdp2' → None" in text
    assert len(losses(one)) == len(losses(two)) == 14
    assert losses(two) == pytest.approx(losses(one), rel=5e-4)
    check_close(latest(two)["params"], latest(one)["params"])


@pytest.mark.slow
@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(amp: str | None, pairs: Path) -> None:
    whole = prepare(pairs, "whole", 2, sharded(9, train__amp=amp))
    legs = prepare(pairs, "legs", 2, sharded(6, train__amp=amp))
    run(whole, legs, continued(legs, 2, sharded(9, train__amp=amp)))
    assert "Resuming training" in Path(legs.folder, OUTPUT).read_text()
    assert differences(latest(whole), latest(legs)) == []
    assert differences(state(whole, 9)["optimizers"], state(legs, 9)["optimizers"]) == []


def test_steps_that_are_not_finite_in_one_part_are_skipped_by_all(pairs: Path) -> None:
    (pairs / "faults.py").write_text(FAULT)
    job = prepare(pairs, "run", 2, sharded(4, imports=["faults"], logger__save_checkpoint_freq=100))
    (Path(job.folder) / "faults.py").write_text(FAULT)
    run(job)
    text = Path(job.folder, OUTPUT).read_text()
    assert text.count("the gradients are not finite; this step is skipped") == 1
    assert all(bool(each.isfinite().all()) for each in latest(job)["params"].values())


FAULT = """
import os
import torch
from basicsr_mambair.models.restoration_model import RestorationModel
from basicsr_mambair.sharding import local

step = RestorationModel._step


def faulty(self, optimizer, name):
    if os.environ["RANK"] == "1" and len(self.model_steps) == 2:
        local(next(self.net_g.parameters()).grad).fill_(float("nan"))
    self.model_steps.append(name)
    step(self, optimizer, name)


RestorationModel.model_steps = []
RestorationModel._step = faulty
"""


def test_single_numbers_are_named() -> None:
    net = torch.nn.Linear(2, 2)
    check_parameters(net)
    net.scale = torch.nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ShardingError, match=r"train\.sharding: parameters of Linear .*: scale$"):
        check_parameters(net)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train__compile": True}, "does not go together with train.compile: True"),
        ({"find_unused_parameters": True}, "does not go together with find_unused_parameters"),
        ({"train__optim_g": {"type": "Adafactor"}}, r"needs an optimizer .*AdamW.*, not Adafactor"),
        ({"train__optim_g": {"type": "schedulefree.AdamWScheduleFree"}, "train__ema_decay": 0},
         "needs an optimizer that"),
        ({"train__sharding": "ddp"}, "must be 'fsdp2'"),
        ({"model_type": "RestorationGANModel",
          "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3},
          "train__gan_opt": {"type": "GANLoss", "gan_type": "vanilla"},
          "train__optim_d": {"type": "Adam"}}, "must be null: networks that train"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    changes: dict[str, Any], text: str, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs)
    (pairs / "run.yml").write_text(yaml.safe_dump(sharded(**changes)))
    with pytest.raises(OptionError, match=rf"train\.sharding: .*{text}"):
        load_options("run.yml", is_train=True)
