"""Runs that are killed (SIGKILL) at any moment, and continued, end as one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mambair.checkpoint import load_checkpoint
from tests.basicsr_mambair.training.runs import contents, differences, figures

TOTAL = 120


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Trains as a user does, on one thread, in a process group of its own."""
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "basicsr_mambair", "train", "-opt", "run.yml", "--auto_resume"],
            cwd=folder, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def prepare(pairs: Path, name: str, workers: int) -> Path:
    folder = pairs / name
    folder.mkdir()
    for part in ("HR", "LR"):
        (folder / part).symlink_to(pairs / part)
    options = contents(total=TOTAL, datasets__train__num_worker_per_gpu=workers, val__val_freq=50)
    options["logger"] |= {"save_checkpoint_freq": 5, "keep_last": 3}
    (folder / "run.yml").write_text(yaml.safe_dump(options))
    return folder


def end(folder: Path) -> dict[str, Any]:
    own = folder / "experiments" / "run"
    return {
        "weights": load_checkpoint(own / "models" / "net_g_latest.pth"),
        "state": load_checkpoint(own / "training_states" / f"{TOTAL}.state"),
        "figures": figures(own),
    }


def until_a_state(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Waits until the process has written a training state of its own."""
    states = folder / "experiments" / "run" / "training_states"
    before, limit = set(states.glob("*.state")), time.monotonic() + 240
    while process.poll() is None and not set(states.glob("*.state")) - before:
        assert time.monotonic() < limit
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # its loader workers too, as a machine that dies
    process.wait()


def check_killed(pairs: Path, kills: int, workers: int, seed: int) -> None:
    moments = random.Random(seed)
    whole = prepare(pairs, "whole", workers)
    assert start(whole).wait(timeout=600) == 0, (whole / "output.txt").read_text()
    killed = prepare(pairs, "killed", workers)
    for number in range(kills):
        process = start(killed)
        if number % 2:  # at any moment of the beginning, too
            time.sleep(moments.uniform(0, 20))
        else:
            until_a_state(killed, process)
            time.sleep(moments.uniform(0, 0.2))
        kill(process)
    assert start(killed).wait(timeout=600) == 0, (killed / "output.txt").read_text()
    output = (killed / "output.txt").read_text()
    assert "Traceback" not in output
    assert differences(end(whole), end(killed)) == []
    assert not list((killed / "experiments" / "run").rglob("*.part"))


def test_killed_once(pairs: Path) -> None:
    check_killed(pairs, kills=1, workers=1, seed=time.time_ns())


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_often(workers: int, pairs: Path) -> None:
    check_killed(pairs, kills=12, workers=workers, seed=time.time_ns())


def train_on_two(folder: Path, total: int) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launch += ["--master_port", str(20000 + os.getpid() % 20000), "-m", "basicsr_mambair"]
    return subprocess.run(
        [*launch, "train", "-opt", "run.yml", "--launcher", "pytorch", "--auto_resume",
         "--force_yml", f"train:total_iter={total}"],
        cwd=folder, capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.nightly
def test_two_processes_continue(pairs: Path) -> None:
    whole, parts = (prepare(pairs, name, workers=1) for name in ("whole", "parts"))
    for folder, legs in ((whole, (TOTAL,)), (parts, (7, TOTAL))):
        for total in legs:
            run = train_on_two(folder, total)
            assert run.returncode == 0, run.stderr
    expected, found = end(whole), end(parts)
    at_its_end = next(each for each in found["figures"] if each["iter"] == 7 and "val" in each)
    found["figures"].remove(at_its_end)  # the shorter run was validated there
    assert differences(expected, found) == []
