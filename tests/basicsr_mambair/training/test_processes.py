"""A training by several processes is the training by one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mambair.checkpoint import load_checkpoint
from tests.basicsr_mambair.processes import OUTPUT, Job, run
from tests.basicsr_mambair.training.runs import contents
from tests.conftest import tiny_network

BATCH = 4


def prepare(pairs: Path, name: str, processes: int, options: dict[str, Any]) -> Job:
    """A folder with the options of a run, whose batch is shared by the processes."""
    folder = pairs / name
    folder.mkdir()
    for part in ("HR", "LR"):
        (folder / part).symlink_to(pairs / part)
    options["datasets"]["train"]["batch_size_per_gpu"] = BATCH // processes
    (folder / "run.yml").write_text(yaml.safe_dump(options))
    return Job(str(folder), processes, ["train", "-opt", "run.yml"])


def losses(job: Job) -> list[float]:
    text = Path(job.folder, OUTPUT).read_text()
    return [float(value) for value in re.findall(r"l_pix: (\S+)", text)]


def weights(job: Job) -> dict[str, torch.Tensor]:
    path = Path(job.folder, "experiments", "run", "models", "net_g_latest.pth")
    found: dict[str, torch.Tensor] = load_checkpoint(path)["params"]
    return found


def check_same(jobs: list[Job], total: int) -> None:
    one, *others = jobs
    assert len(losses(one)) == total
    for other in others:
        assert losses(other) == pytest.approx(losses(one), rel=5e-4), other.processes
        torch.testing.assert_close(weights(other), weights(one), rtol=1e-3, atol=1e-4)


def test_the_same_batch_on_one_and_two_processes(pairs: Path) -> None:
    """Crops, flips and degradations are those of the place in the run; so is routing noise."""
    options = contents(total=10, network_g=tiny_network(), train__grad_clip_norm=0.5)
    jobs = [prepare(pairs, str(n), n, options) for n in (1, 2)]
    run(*jobs)
    check_same(jobs, 10)


@pytest.mark.slow
def test_the_same_batch_on_four_processes_for_fifty_iterations(pairs: Path) -> None:
    jobs = []
    for n in (1, 2, 4):
        jobs.append(prepare(pairs, f"net-{n}", n, contents(total=50, network_g=tiny_network())))
        options = contents(total=50, train__gradient_accumulation=4 // n)
        jobs.append(prepare(pairs, f"parts-{n}", n, options))
    run(*jobs)
    check_same(jobs[::2], 50)
    check_same(jobs[1::2], 50)
