"""A run that continues with other options heeds them, and says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mambair.checkpoint import CheckpointError, load_checkpoint
from tests.basicsr_mambair.training.runs import Runs, contents

COSINE = {"type": "CosineAnnealingRestartLR"}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def rate_at_end(folder: Path, *legs: dict[str, Any], **last: Any) -> float:
    """The learning rate of the last iteration, after legs that each end where they are told."""
    folder.mkdir()
    for part in ("HR", "LR"):
        (folder / part).symlink_to(folder.parent / part)
    runs = Runs(folder)
    for number, leg in enumerate(legs):
        runs.train(contents(**leg), stop_after=4, resume=number > 0)
    runs.train(contents(**last), resume=bool(legs))
    rate: float = runs.end()["state"]["optimizers"][0]["param_groups"][0]["lr"]
    return rate


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"train__optim_g": {"type": "Adam", "lr": 5e-4}}),
        ({}, {"train__scheduler": {"type": "MultiStepLR", "milestones": [2, 7], "gamma": 0.1}}),
        ({"train__scheduler": COSINE}, {"train__scheduler": COSINE, "total": 12}),
        ({}, {"train__scheduler": COSINE}),
        ({}, {"train__warmup_iter": 6}),
    ],
    ids=str,
)
def test_rates_are_those_of_a_run_with_the_new_options(
    before: dict[str, Any], after: dict[str, Any], pairs: Path
) -> None:
    changed = rate_at_end(pairs / "changed", before, **after)
    assert changed == pytest.approx(rate_at_end(pairs / "new", **after), rel=1e-9)


def test_a_finished_run_is_made_longer(pairs: Path) -> None:
    runs = Runs(pairs)
    runs.train(contents(total=5, train__scheduler=COSINE))
    runs.train(contents(total=9, train__scheduler=COSINE), resume=True)
    assert sorted(runs.losses) == list(range(1, 10))


def test_the_log_names_what_changed(pairs: Path, log: pytest.LogCaptureFixture) -> None:
    runs = Runs(pairs)
    runs.train(contents(), stop_after=4)
    log.clear()
    runs.train(
        contents(
            train__optim_g={"type": "AdamW", "lr": 2e-3, "weight_decay": 0.1},
            train__ema_decay=0, datasets__train__batch_size_per_gpu=3,
        ),
        resume=True,
    )  # fmt: skip
    (heeded,) = [r.getMessage() for r in log.records if "are heeded" in r.getMessage()]
    for text in (
        "datasets.train.batch_size_per_gpu: 4 → 3",
        "train.ema_decay: 0.9 → 0 (the averaged weights are dropped)",
        "train.optim_g.lr: 0.001 → 0.002",
        "train.optim_g.type: 'Adam' → 'AdamW' (the optimizer begins anew)",
        "train.optim_g.weight_decay: None → 0.1",
    ):
        assert text in heeded
    end = runs.end()
    assert end["state"]["position"] == 3 * 4 + 6 * 3
    assert "params_ema" not in end["weights"]
    assert end["state"]["optimizers"][0]["param_groups"][0]["weight_decay"] == 0.1


def test_nothing_is_said_if_nothing_changed(pairs: Path, log: pytest.LogCaptureFixture) -> None:
    runs = Runs(pairs)
    runs.train(contents(), stop_after=4)
    log.clear()
    runs.train(contents(datasets__train__num_worker_per_gpu=1), resume=True)
    assert "changed" not in log.text


def test_from_a_state_of_another_experiment(pairs: Path, log: pytest.LogCaptureFixture) -> None:
    first = Runs(pairs)
    first.train(contents(total=3))
    state = pairs / "experiments" / "run" / "training_states" / "3.state"
    second = Runs(pairs)
    second.train(contents(total=5, name="other", path__resume_state=str(state)))
    assert sorted(second.losses) == [4, 5]
    other = pairs / "experiments" / "other"
    assert load_checkpoint(other / "training_states" / "5.state")["iter"] == 5
    assert (other / "models" / "net_g_latest.pth").exists()


def test_a_state_without_its_weights(pairs: Path) -> None:
    Runs(pairs).train(contents(total=3))
    own = pairs / "experiments" / "run"
    (own / "models" / "net_g_3.pth").unlink()
    state = str(own / "training_states" / "3.state")
    with pytest.raises(CheckpointError, match=r"path\.resume_state: .*3\.state is there, but .*"
                       r"net_g_3\.pth"):  # fmt: skip
        Runs(pairs).train(contents(total=5, name="other", path__resume_state=state))
    assert not (pairs / "experiments" / "other").exists()
