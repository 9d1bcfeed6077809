"""Where one of several processes ends, all end, and one sentence names it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mambair.checkpoint import load_checkpoint
from tests.basicsr_mambair.launched import Launched
from tests.basicsr_mambair.training.runs import differences

FAULT = """
import os
import signal
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from mambair.errors import UserError

calls = 0


@LOSS_REGISTRY.register()
class FaultyLoss(torch.nn.L1Loss):
    def __init__(self, kind, rank, at=8):
        super().__init__()
        self.kind, self.rank, self.at = kind, rank, at

    def forward(self, output, truth):
        global calls
        calls += 1
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and calls == self.at and os.environ["RANK"] == str(self.rank):
            if self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {"user": UserError, "bug": KeyError}[self.kind]("the fault of a test")
        return super().forward(output, truth)
"""


def faulty(pairs: Path, kind: str, rank: int) -> dict[str, Any]:
    """Options of a run in which one process fails at the eighth iteration."""
    (pairs / "faults.py").write_text(FAULT)
    loss = {"type": "FaultyLoss", "kind": kind, "rank": rank}
    return {"total": 20, "imports": ["faults"], "train__pixel_opt": loss}


@pytest.mark.nightly
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("kind", ["kill", "user", "bug"])
def test_a_process_that_fails_ends_all(kind: str, rank: int, pairs: Path) -> None:
    launched = Launched(pairs, 3, **faulty(pairs, kind, rank))
    launched.until_saved(6)
    assert launched.end(seconds=10) != 0
    output = launched.output()
    assert output.count("Traceback (most recent call last)") == (kind == "bug")
    assert "gloo" not in output
    assert output.count(f"rank {rank} of 3") == 1, output
    reason = "has died" if kind == "kill" else "the fault of a test"
    assert reason in output.split(f"rank {rank} of 3")[1].splitlines()[0]
    log = next((pairs / "experiments" / "run").glob("*.log")).read_text()
    assert rank == 0 or reason in log


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.slow
def test_a_signal_to_one_saves_and_stops_all(pairs: Path) -> None:
    launched = Launched(pairs, 2, total=100000)
    launched.until_saved(3)
    os.kill(launched.ranks()[1], signal.SIGTERM)
    assert launched.end(seconds=20) != 0
    output = launched.output()
    assert "Traceback" not in output
    assert output.count("interrupted; saved iteration ") == 1, output
    saved = output.split("interrupted; saved iteration ")[1].split(".")[0]
    assert (pairs / "experiments" / "run" / "training_states" / f"{saved}.state").exists()


@pytest.mark.slow
def test_an_error_of_all_is_told_once(pairs: Path) -> None:
    launched = Launched(pairs, 2, total=-1)
    assert launched.end(seconds=60) != 0
    assert launched.output().count("train.total_iter: must be") == 1


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [None, "fsdp2"])
def test_a_restarted_run_goes_on(sharding: str | None, pairs: Path) -> None:
    """torchrun starts all again after one has died; the run ends as one that was never stopped."""
    ends = []
    for kind in ("kill", "none"):
        folder = pairs / kind
        folder.mkdir()
        for part in ("HR", "LR"):
            (folder / part).symlink_to(pairs / part)
        options = {**faulty(folder, kind, 1), "train__sharding": sharding}
        if kind == "none":
            options["train__pixel_opt"]["at"] = 1000
        launched = Launched(folder, 2, "--max-restarts=2", resume=True, **options)
        assert launched.end(seconds=200) == 0, launched.output()
        ends.append(load_checkpoint(folder / "experiments/run/models/net_g_latest.pth"))
        assert (", iter: 6.\n" in launched.output()) == (kind == "kill")
    assert differences(*ends) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all(rank: int, pairs: Path) -> None:
    launched = Launched(pairs, 2, total=100000)
    launched.until_saved(3)
    os.kill(launched.ranks()[rank], signal.SIGKILL)
    assert launched.end(seconds=10) != 0
    output = launched.output()
    assert "Traceback" not in output and "gloo" not in output
    assert output.count(f"rank {rank} of 2") == 1
    assert output.count("has died (killed, or out of memory)") == 1
    assert "--auto_resume" in output
