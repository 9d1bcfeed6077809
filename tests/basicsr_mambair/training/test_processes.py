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


def figures(job: Job) -> list[str]:
    return re.findall(r"# (?:psnr|ssim): \S+", Path(job.folder, OUTPUT).read_text())


def test_validation_is_shared(pairs: Path) -> None:
    """Three pictures on one, two and four processes: as many figures, bits and files."""
    jobs = []
    for n in (1, 2, 4):
        options = contents(total=2, network_g=tiny_network(), val__save_img=True)
        options["val"] |= {"val_freq": 1, "baseline": "bicubic"}
        options["val"]["metrics"]["ssim"] = {"type": "calculate_ssim", "crop_border": 2}
        options["train"]["optim_g"]["lr"] = 1e-12  # the sum of gradients rounds differently
        jobs.append(prepare(pairs, f"train-{n}", n, options))
    run(*jobs)
    one, *others = jobs
    assert len(figures(one)) == 8
    for other in others:
        assert figures(other) == figures(one)
        assert pictures(other) == pictures(one) != {}


def pictures(job: Job) -> dict[str, bytes]:
    files = Path(job.folder).rglob("visualization/**/*.png")
    return {str(path.relative_to(job.folder)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_measurement_is_shared(pairs: Path) -> None:
    """Where there are fewer pictures than processes, too."""
    few = {"name": "few", "dataroot_gt": "../one", "dataroot_lq": "../one_lr"}
    for folder, picture in (("one", "HR/coffee.png"), ("one_lr", "LR/coffeex2.png")):
        (pairs / folder).mkdir()
        (pairs / folder / Path(picture).name).symlink_to(pairs / picture)
    jobs = []
    for n in (1, 2):
        options = contents(total=1, network_g=tiny_network(), val__save_img=True)
        options["val"] |= {"val_freq": 1, "baseline": "bicubic"}
        trains = prepare(pairs, str(n), 1, options)
        val = options["datasets"].pop("val")
        options["datasets"] = {"test_1": {**val, "name": "all"}, "test_2": {**val, **few}}
        del options["train"], options["logger"], options["val"]["val_freq"]
        options["path"] = {"pretrain_network_g": "experiments/run/models/net_g_latest.pth"}
        Path(trains.folder, "test.yml").write_text(yaml.safe_dump(options))
        jobs += [trains, Job(trains.folder, n, ["test", "-opt", "test.yml"])]
    run(*jobs)
    _, one, _, two = jobs
    assert len(figures(one)) == 6
    assert figures(two) == figures(one)
    assert len(pictures(one)) == 3 + 4  # of training, and of both data sets
    assert pictures(two) == pictures(one)


@pytest.mark.nightly
def test_the_same_batch_on_four_processes_for_fifty_iterations(pairs: Path) -> None:
    jobs = []
    for n in (1, 2, 4):
        jobs.append(prepare(pairs, f"net-{n}", n, contents(total=50, network_g=tiny_network())))
        options = contents(total=50, train__gradient_accumulation=4 // n)
        jobs.append(prepare(pairs, f"parts-{n}", n, options))
    run(*jobs)
    check_same(jobs[::2], 50)
    check_same(jobs[1::2], 50)


@pytest.mark.slow
def test_a_run_goes_on_with_other_numbers_of_processes(pairs: Path) -> None:
    """Ten iterations on one process, ten on two, ten on four: the run of thirty on one."""
    whole = prepare(pairs, "whole", 1, contents(total=30, network_g=tiny_network()))
    legs = []
    for n in (1, 2, 4):
        options = contents(network_g=tiny_network(), train__total_iter=(10, 20, 30)[n // 2])
        if n == 1:
            leg = prepare(pairs, "legs", 1, options)
        else:
            options["datasets"]["train"]["batch_size_per_gpu"] = BATCH // n
            Path(leg.folder, f"run-{n}.yml").write_text(yaml.safe_dump(options))
            leg = Job(leg.folder, n, ["train", "-opt", f"run-{n}.yml", "--auto_resume"])
        legs.append(leg)
    run(whole, *legs)
    check_same([whole, legs[0]], 30)
    assert "Resuming training from epoch: 4, iter: 10." in Path(leg.folder, OUTPUT).read_text()
