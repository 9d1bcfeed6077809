"""Checkpoints of a run: which stay, which one a run continues from, what damage does."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basicsr_mambair.training.retention import kept
from basicsr_mambair.training.writing import CheckpointWriter, unhealthy
from mambair.checkpoint import CheckpointError, load_checkpoint
from tests.basicsr_mambair.training.runs import Runs, contents, differences


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def stopped(pairs: Path) -> Runs:
    """A run with states of iterations 3 and 6."""
    runs = Runs(pairs)
    runs.train(contents(), stop_after=7)
    return runs


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    # Somewhere in a tensor: the pickle is at the beginning, the directory at the end.
    content[len(content) * 2 // 3] ^= 255
    path.write_bytes(content)


def spoil(path: Path) -> None:
    state = load_checkpoint(path)
    if "optimizers" in state:
        state["optimizers"][0]["state"][0]["exp_avg"].fill_(float("nan"))
    else:
        next(iter(state["params"].values())).fill_(float("inf"))
    torch.save(state, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


@pytest.mark.parametrize("file", ["training_states/6.state", "models/net_g_6.pth"])
@pytest.mark.parametrize("damage", [truncate, flip, spoil, empty, noise, Path.unlink])
def test_the_newest_whole_state_is_taken(
    file: str, damage: Any, stopped: Runs, log: pytest.LogCaptureFixture
) -> None:
    damage(stopped.own / file)
    stopped.losses.clear()
    stopped.train(contents(), resume=True)
    assert sorted(stopped.losses) == list(range(4, 10))
    if file.startswith("models") or damage is not Path.unlink:
        assert "not resumed from iteration 6: " in log.text
        assert Path(file).name in log.text.split("not resumed from iteration 6: ")[1]


def test_none_is_whole(stopped: Runs) -> None:
    for path in (stopped.own / "training_states").iterdir():
        truncate(path)
    with pytest.raises(CheckpointError, match="no whole training state to resume from"):
        stopped.train(contents(), resume=True)


def test_strays_are_swept(stopped: Runs, log: pytest.LogCaptureFixture) -> None:
    stray = stopped.own / "models" / ".net_g_9.pth.abcd.part"
    stray.touch()
    stopped.train(contents(), resume=True)
    assert not stray.exists()
    assert "removed an incomplete file of a run that was killed" in log.text


@pytest.mark.parametrize(
    ("last", "every", "stay"),
    [(None, None, {1, 2, 3, 4, 5, 6}), (2, None, {5, 6}), (1, 3, {3, 6}), (None, 2, {2, 4, 6})],
)
def test_which_stay(last: int | None, every: int | None, stay: set[int]) -> None:
    assert kept(range(1, 7), last, every) == stay


def test_few_checkpoints_are_kept(pairs: Path) -> None:
    options = contents(total=7, val__val_freq=2)
    options["logger"] |= {"save_checkpoint_freq": 1, "keep_last": 2, "keep_every": 3,
                          "keep_best": "psnr"}  # fmt: skip
    runs = Runs(pairs)
    runs.train(options)
    states = sorted(path.name for path in (runs.own / "training_states").iterdir())
    assert states == ["3.state", "6.state", "7.state"]
    weights = {path.name for path in (runs.own / "models").iterdir()}
    assert weights == {f"net_g_{end}.pth" for end in ("3", "6", "7", "latest", "best_psnr")}
    best = max(runs.figures, key=lambda iteration: (runs.figures[iteration]["psnr"], iteration))
    record = runs.end()["state"]["attributes"]["best_metric_results"]["val"]["psnr"]
    assert record["iter"] <= best, "the state is saved before the last validation"


def test_safetensors_are_kept_beside(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The averaged weights, which ``restore -w`` finds where there is nothing else."""
    import mambair

    options = contents(total=7, val__val_freq=2)
    options["logger"] |= {"save_checkpoint_freq": 2, "keep_last": 2, "keep_best": "psnr",
                          "save_safetensors": True}  # fmt: skip
    runs = Runs(pairs)
    runs.train(options)
    models = runs.own / "models"
    files = {path.name for path in models.iterdir()}
    assert files == {f"net_g_{end}.{suffix}" for end in ("6", "7", "latest", "best_psnr")
                     for suffix in ("pth", "safetensors")}  # fmt: skip
    for file in models.glob("*.safetensors"):
        beside = load_checkpoint(file.with_suffix(".pth"))
        assert differences(load_checkpoint(file)["params"], beside["params_ema"]) == []
    monkeypatch.chdir(pairs)
    picture = np.random.default_rng(0).random((9, 8, 3), np.float32)
    with_pth = mambair.load("run")(picture)
    for file in models.glob("*.pth"):
        file.unlink()
    assert np.array_equal(mambair.load("run")(picture), with_pth)


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "enough"), [(1000, False), (60_000, True)])
def test_room_is_checked_before_the_first_iteration(
    free: int, enough: bool, pairs: Path, monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(free, 0, free))
    runs = Runs(pairs)
    if enough:
        runs.train(contents(total=2, logger__save_checkpoint_freq=1))
        assert "checkpoints of this run need about" in log.text
    else:
        with pytest.raises(CheckpointError, match="the disk has 1.0 kB left, and one checkpoint"):
            runs.train(contents(total=2))
        assert runs.losses == {}


def test_a_write_that_fails_stops_the_run(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mambair.checkpoint import writing

    write = writing.write_atomically

    def sometimes(path: Any, contents: Any) -> None:
        if "net_g_6" in str(path):
            raise OSError(28, "No space left on device")
        write(path, contents)

    monkeypatch.setattr(writing, "write_atomically", sometimes)
    runs = Runs(pairs)
    with pytest.raises(CheckpointError, match=r"net_g_6\.pth: .*the disk is full: .* are needed"):
        runs.train(contents(total=60, logger__keep_last=1))
    assert [path.name for path in (runs.own / "training_states").iterdir()] == ["3.state"]
    assert max(runs.losses) < 60


def test_arguments_of_an_optimizer_may_be_infinite() -> None:
    """Prodigy's growth_rate is; a step size that is NaN is not healthy, nor is a moment."""
    group = {"growth_rate": float("inf"), "d": float("nan"), "params": [0]}
    state = {"state": {0: {"m": torch.tensor([1.0, float("inf")])}}, "param_groups": [group]}
    assert unhealthy({"optimizers": [state]}, "optimizers") == [
        "optimizers.0.state.0.m", "optimizers.0.param_groups.0.d",
    ]  # fmt: skip


def test_what_is_written_is_the_snapshot(tmp_path: Path) -> None:
    writer, weights = CheckpointWriter(), torch.zeros(1000, 1000)
    writer.write({"params": {"x": weights}}, str(tmp_path / "a.pth"), ("params",))
    weights.fill_(1)
    writer.finish()
    assert not load_checkpoint(tmp_path / "a.pth")["params"]["x"].any()


def test_after_a_failure_nothing_more_is_written(tmp_path: Path) -> None:
    writer, deleted = CheckpointWriter(), []
    bad = {"params": {"x": torch.tensor(float("nan"))}}
    writer.write(bad, str(tmp_path / "a.pth"), ("params",))
    with contextlib.suppress(CheckpointError):  # which may come already
        writer.then(lambda: deleted.append(1))
    writer.close()
    assert deleted == []
    assert list(tmp_path.iterdir()) == []
