"""Steps that are not finite: skipped, named, counted; too many end the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr_mambair.models import RestorationModel
from basicsr_mambair.training.guard import TrainingDivergedError
from mambair.checkpoint import load_checkpoint, non_finite
from tests.basicsr_mambair.training.runs import Runs, contents


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def spoil(patch: pytest.MonkeyPatch, iterations: set[int], model: Any = RestorationModel) -> None:
    """Puts a NaN into the batches of some iterations."""
    feed, count = model.feed_data, iter(range(1, 10**6))

    def feed_data(self: Any, data: dict[str, Any]) -> None:
        if data["lq"].shape[0] > 1 and next(count) in iterations:  # not in validation
            data = {**data, "gt": data["gt"] * float("nan")}
        feed(self, data)

    patch.setattr(model, "feed_data", feed_data)


@pytest.mark.parametrize("model", ["RestorationModel", "SRModel"])
def test_a_bad_step_is_skipped_and_named(
    model: str, pairs: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    from basicsr.models.sr_model import SRModel

    spoil(monkeypatch, {2, 3}, SRModel)
    Runs(pairs).train(contents(total=5, model_type=model))
    (first, second, *_) = [
        r.getMessage() for r in log.records if "step is skipped (" in r.getMessage()
    ]
    assert first.startswith("iteration 2: l_pix is nan; this step is skipped (1 in a row, 1 in all")
    assert "HR/" in first and ".png" in first
    assert "(2 in a row, 2 in all)" in second
    assert "iteration 3: not saved" in log.text
    own = pairs / "experiments" / "run"
    assert [path.name for path in (own / "training_states").iterdir()] == ["5.state"]
    assert not non_finite(load_checkpoint(own / "models" / "net_g_latest.pth"))


@pytest.mark.parametrize("model", ["RestorationModel", "SRModel"])
def test_too_many_end_the_run_and_keep_the_last_healthy_checkpoint(
    model: str, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basicsr.models.sr_model import SRModel

    spoil(monkeypatch, set(range(5, 100)), SRModel)
    options = contents(total=50, model_type=model, train__max_skipped_steps=4)
    with pytest.raises(TrainingDivergedError, match=r"iteration 8: l_pix is nan; 4 steps in a row"
                       r".*healthy checkpoint is kept: .*/3\.state\. A smaller"):  # fmt: skip
        Runs(pairs).train(options)
    own = pairs / "experiments" / "run"
    assert [path.name for path in (own / "training_states").iterdir()] == ["3.state"]
    assert not non_finite(load_checkpoint(own / "models" / "net_g_3.pth"))


def test_the_advice_works(pairs: Path) -> None:
    """A rate that explodes, then a smaller one from the last checkpoint."""
    runs = Runs(pairs)
    runs.train(contents(total=9), stop_after=4)
    wild = contents(total=40, train__optim_g={"type": "SGD", "lr": 100})
    with pytest.raises(TrainingDivergedError):
        runs.train(wild, resume=True)
    runs.train(contents(total=40, train__optim_g={"type": "Adam", "lr": 1e-4}), resume=True)
    assert max(runs.losses) == 40
    assert all(torch.isfinite(torch.tensor(each["l_pix"])) for each in runs.losses.values())


def test_weights_that_are_not_finite_are_not_written(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mambair.checkpoint import CheckpointError

    step = RestorationModel.optimize_parameters

    def optimize_parameters(self: Any, current_iter: int) -> None:
        step(self, current_iter)
        if current_iter == 5:
            self.net_g_ema.conv_first.bias.data[0] = float("nan")

    monkeypatch.setattr(RestorationModel, "optimize_parameters", optimize_parameters)
    with pytest.raises(CheckpointError, match=r"net_g_6\.pth: is not written.*params_ema\.conv_f"):
        Runs(pairs).train(contents(total=9))
    own = pairs / "experiments" / "run"
    assert [path.name for path in (own / "training_states").iterdir()] == ["3.state"]
    assert [path.name for path in (own / "models").iterdir()] == ["net_g_3.pth"]
