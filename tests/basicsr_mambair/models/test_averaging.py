"""Averages of weights: how the moving average begins, and schedule-free optimizers."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from basicsr_mambair.models.averaging import ema_decay_at
from basicsr_mambair.options import OptionError, load_options
from mambair.checkpoint import load_checkpoint
from tests.basicsr_mambair.cli.test_train import option_file
from tests.basicsr_mambair.models.test_restoration_model import batch, model
from tests.conftest import run_basicsr

SCHEDULE_FREE = {"type": "schedulefree.AdamWScheduleFree", "lr": 0.01, "warmup_steps": 3}


def flat(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_decay_of_the_average() -> None:
    assert [ema_decay_at(n, 0.999, start=2) for n in (1, 2, 3)] == [0, 0, 0.999]
    rising = [ema_decay_at(n, 0.999, start=2, warmup=True) for n in (2, 3, 12, 10**5)]
    assert rising == [0, 2 / 11, 11 / 20, 0.999]


def test_the_average_follows_until_ema_start() -> None:
    trained = model(train={"ema_start": 2})
    for iteration in (1, 2):
        trained.feed_data(batch())
        trained.optimize_parameters(iteration)
        assert torch.equal(flat(trained.net_g_ema), flat(trained.net_g))
    before = flat(trained.net_g)
    trained.optimize_parameters(3)
    torch.testing.assert_close(flat(trained.net_g_ema), (before + flat(trained.net_g)) / 2)


def test_the_decay_of_the_average_rises() -> None:
    trained = model(train={"ema_decay": 0.999, "ema_warmup": True})
    before = flat(trained.net_g)
    trained.feed_data(batch())
    trained.optimize_parameters(1)
    expected = before.lerp(flat(trained.net_g), 1 - 2 / 11)
    torch.testing.assert_close(flat(trained.net_g_ema), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ema_start": 3}, "train.ema_start: has no effect without ema_decay"),
        ({"ema_decay": 0.9, "ema_start": 20}, "train.ema_start: must be below total_iter 20"),
        ({"mixup": {"beta": 0}}, "train.mixup.beta: must be a number above 0"),
        ({"mixup": {"bets": 1}}, "train.mixup.bets: unknown key; did you mean 'beta'"),
        ({"cutblur": True}, "train.cutblur: must be a section"),
        ({"cutblur": {"ratio": 1}}, "train.cutblur.ratio: must be .* below 1"),
    ],
)
def test_what_cannot_work_is_named(
    change: dict, message: str, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs)
    contents = yaml.safe_load(option_file(pairs).read_text())
    contents["train"] = {**contents["train"], "ema_decay": 0, **change}
    (pairs / "run.yml").write_text(yaml.safe_dump(contents))
    with pytest.raises(OptionError, match=message):
        load_options(pairs / "run.yml", is_train=True)


def schedule_free(**changes: Any) -> Any:
    pytest.importorskip("schedulefree", reason="needs the package schedulefree")
    return model(train={"ema_decay": 0, "optim_g": SCHEDULE_FREE}, **changes)


def trained_weights(saved: Path | None, resume: bool = False) -> torch.Tensor:
    """Training weights after 8 steps, perhaps with a save after 5, perhaps resumed from there."""
    paths = {} if saved is None else {"models": str(saved), "training_states": str(saved)}
    trained = schedule_free(path=paths)
    for iteration in range(1, 9):
        if iteration == 6 and saved is not None:
            trained.save(0, 5)
        if iteration == 6 and resume:
            trained = schedule_free(
                path={**paths, "pretrain_network_g": str(saved / "net_g_5.pth")}
            )
            trained.resume_training(load_checkpoint(saved / "5.state"))
        trained.feed_data(batch(2 + iteration % 3))
        trained.optimize_parameters(iteration)
    return flat(trained.net_g)


def test_saving_and_resuming_change_no_bit(tmp_path: Path) -> None:
    undisturbed = trained_weights(None)
    assert torch.equal(trained_weights(tmp_path), undisturbed)
    assert torch.equal(trained_weights(tmp_path, resume=True), undisturbed)


def test_a_checkpoint_holds_the_averaged_weights(tmp_path: Path) -> None:
    trained = schedule_free(path={"models": str(tmp_path), "training_states": str(tmp_path)})
    for iteration in range(1, 6):
        trained.feed_data(batch())
        trained.optimize_parameters(iteration)
    in_training = copy.deepcopy(trained.net_g)
    trained.save(0, 5)
    assert torch.equal(flat(trained.net_g), flat(in_training))
    trained.optimizer_g.eval()
    averaged = trained.net_g.state_dict()
    saved = load_checkpoint(tmp_path / "net_g_5.pth")["params"]
    assert not torch.equal(saved["conv_first.weight"], in_training.conv_first.weight)
    for name, value in averaged.items():
        torch.testing.assert_close(saved[name], value)


def test_two_averages_are_refused(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("schedulefree", reason="needs the package schedulefree")
    monkeypatch.chdir(pairs)
    contents = yaml.safe_load(option_file(pairs).read_text())
    contents["train"]["optim_g"] = SCHEDULE_FREE
    (pairs / "run.yml").write_text(yaml.safe_dump(contents))
    with pytest.raises(OptionError, match="train.ema_decay: must be 0: AdamWScheduleFree averages"):
        load_options(pairs / "run.yml", is_train=True)


@pytest.mark.slow
def test_a_run_is_resumed_and_its_checkpoint_measures_as_validated(pairs: Path) -> None:
    pytest.importorskip("schedulefree", reason="needs the package schedulefree")
    contents = yaml.safe_load(option_file(pairs, total=10).read_text())
    contents["train"] |= {
        "ema_decay": 0, "optim_g": SCHEDULE_FREE,
        "scheduler": {"type": "MultiStepLR", "milestones": []},
    }  # fmt: skip
    contents["network_g"]["routing"] = "argmax"
    contents["val"] |= {"val_freq": 5}
    (pairs / "run.yml").write_text(yaml.safe_dump(contents))
    stopped = run_basicsr(
        "train", "-opt", "run.yml", "--force_yml", "train:total_iter=5", cwd=pairs
    )
    assert stopped.returncode == 0, stopped.stderr
    resumed = run_basicsr("train", "-opt", "run.yml", "--auto_resume", cwd=pairs)
    assert resumed.returncode == 0, resumed.stderr
    text = resumed.stdout + resumed.stderr
    assert "iter: 5." in text
    validated = re.findall(r"# psnr: ([\d.]+)", text)[-1]

    contents["datasets"] = {"test": contents["datasets"]["val"]}
    contents["path"] = {"pretrain_network_g": "experiments/run/models/net_g_latest.pth"}
    (pairs / "test.yml").write_text(yaml.safe_dump(contents))
    tested = run_basicsr("test", "-opt", "test.yml", cwd=pairs)
    assert tested.returncode == 0, tested.stderr
    assert f"# psnr: {validated}" in tested.stdout + tested.stderr
