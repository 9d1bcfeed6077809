"""``basicsr runs``: what a folder of runs shows, up to the command that goes on with one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from basicsr_mambair.runs.listing import NoRunsError, describe_run, find_runs
from basicsr_mambair.runs.lock import one_process
from basicsr_mambair.runs.metrics import MetricsFile
from tests.basicsr_mambair.training.runs import Runs, contents
from tests.conftest import run_basicsr


def listed(*arguments: str, cwd: Path, status: int = 0) -> str:
    run = run_basicsr("runs", *arguments, cwd=cwd)
    assert run.returncode == status, run.stdout + run.stderr
    return re.sub(" +", " ", run.stdout + run.stderr)  # columns are as wide as they need be


def test_a_killed_run_goes_on_by_the_command_that_is_printed(pairs: Path) -> None:
    options = contents(total=100000, name="mine", logger__save_checkpoint_freq=5)
    (pairs / "my options.yml").write_text(yaml.safe_dump(options))
    process = subprocess.Popen(
        [sys.executable, "-m", "basicsr_mambair", "train", "-opt", "my options.yml"],
        cwd=pairs, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "iter:      12" in line:
            break
    assert "mine running" in listed(cwd=pairs)
    process.kill()
    process.communicate()

    other = pairs / "elsewhere"
    other.mkdir()
    shown = listed("../experiments", cwd=other)
    assert "mine stopped" in shown
    assert "mine: stopped (killed); saved at " in shown
    command = shown.splitlines()[-1].strip()
    expected = f"cd {pairs} && python -m basicsr_mambair train -opt 'my options.yml' --auto_resume"
    assert command == expected
    saved = int(shown.split("saved at ")[1].split(".")[0])
    command = command.replace("&& python", f"&& {sys.executable}")
    again = subprocess.run(
        f"{command} --force_yml train:total_iter={saved + 3}",
        shell=True, cwd=other, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    shown = listed(cwd=pairs)
    assert f"mine finished {saved + 3} of {saved + 3}" in shown
    assert "val/psnr" in shown
    assert "stopped" not in shown


@pytest.fixture
def runs(pairs: Path) -> Runs:
    """A run that has been killed after its fourth iteration."""
    runs = Runs(pairs)
    runs.train(contents(), stop_after=5)
    return runs


def test_states(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.folder)
    run = describe_run(runs.own)
    assert (run.state, run.iteration, run.total, run.saved) == ("stopped", 4, 9, 3)
    assert run.figures == {"l_pix": runs.losses[4]["l_pix"], "val/psnr": runs.figures[4]["psnr"]}
    assert run.resume is not None
    assert run.resume.endswith(" --auto_resume")
    with one_process(runs.own):
        assert describe_run(runs.own).state == "running"
    runs.train(contents(), resume=True)
    run = describe_run(runs.own)
    assert (run.state, run.iteration, run.resume, run.remark) == ("finished", 9, None, "")


def test_nothing_was_saved(runs: Runs) -> None:
    shutil.rmtree(runs.own / "training_states")
    run = describe_run(runs.own)
    assert run.saved is None
    assert run.resume is not None
    assert "--auto_resume" not in run.resume
    assert "stopped (killed) before a checkpoint was saved. To begin anew:" in listed(
        cwd=runs.folder
    )


def test_a_renamed_run_has_no_command(runs: Runs) -> None:
    """Its command would train another run."""
    runs.own.rename(runs.own.with_name("older"))
    run = describe_run(runs.own.with_name("older"))
    assert run.resume is None
    assert "path.resume_state: " in run.remark
    assert run.remark.split("path.resume_state: ")[1].split()[0].endswith("3.state")


def test_runs_of_others_are_listed(runs: Runs) -> None:
    (runs.own / "provenance.yml").unlink()
    run = describe_run(runs.own)
    assert (run.state, run.iteration, run.total, run.resume) == ("unknown", 4, None, None)
    assert "BasicSR or an older version made it" in listed(cwd=runs.folder)


def test_runs_that_were_begun_anew_are_counted(runs: Runs) -> None:
    runs.train(contents(total=1))
    assert "and 1 that were begun anew since (--archived lists them)" in listed(cwd=runs.folder)
    shown = listed("--archived", cwd=runs.folder)
    assert "run_archived_" in shown
    assert "were begun anew" not in shown


def test_a_damaged_run_is_named_and_the_others_listed(runs: Runs) -> None:
    shutil.copytree(runs.own, runs.own.with_name("damaged"))
    (runs.own.with_name("damaged") / "provenance.yml").write_text("[")
    shown = listed(cwd=runs.folder, status=1)
    assert "run stopped" in shown
    assert "not listed: experiments/damaged/provenance.yml: is damaged" in shown


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_a_place_without_runs_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    shown = listed(name, cwd=tmp_path, status=1)
    assert shown.startswith(f"Error: {name}: ")
    assert "Traceback" not in shown


def test_a_run_itself(runs: Runs) -> None:
    assert find_runs(runs.own) == [runs.own]
    with pytest.raises(NoRunsError):
        find_runs(runs.folder / "missing")


def test_figures_that_are_not_finite(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    record: dict[str, Any] = {"iter": 1, "lr": [1.0], "train": {"l_pix": float("inf")}, "speed": {}}
    MetricsFile(folder).add(record)
    assert "l_pix not finite" in listed(os.fspath(tmp_path), cwd=tmp_path)
