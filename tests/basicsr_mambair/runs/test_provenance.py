"""A run's folder says what made it, for each time it was started, and how that ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from basicsr_mambair.models import RestorationModel
from basicsr_mambair.runs import lock
from basicsr_mambair.runs.fingerprint import fingerprint
from basicsr_mambair.runs.lock import RunBusyError, is_running, one_process
from basicsr_mambair.runs.provenance import ProvenanceError, command_line, last_leg
from basicsr_mambair.training.guard import TrainingDivergedError
from basicsr_mambair.training.interrupts import TrainingInterrupted
from tests.basicsr_mambair.training.runs import Runs, contents


def legs(runs: Runs) -> list[dict[str, Any]]:
    text = (runs.own / "provenance.yml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def test_every_leg_is_a_document(pairs: Path) -> None:
    runs = Runs(pairs)
    runs.train(contents(total=5), stop_after=4)
    runs.train(contents(total=6, train__optim_g__lr=5e-4), resume=True)
    first, second = legs(runs)
    assert (first["begin"], first["total"]) == (0, 5)
    assert "end" not in first, "it was killed"
    assert (second["begin"], second["total"]) == (3, 6)
    assert second["end"]["state"] == "finished"
    assert second["end"]["iteration"] == 6
    assert second["options"]["train"]["optim_g"] == {"type": "Adam", "lr": 5e-4}
    assert second["options"]["network_g"]["num_feat"] == 4
    assert second["versions"]["basicsr"] == "1.4.2"
    assert second["devices"][0].startswith("cpu, 1 threads")
    assert second["backend"] is None, "MSRResNet does not scan"
    assert second["data"] == first["data"]
    assert second["data"]["train"]["samples"] == 3
    assert last_leg(runs.own) == second


def test_what_a_signal_and_an_error_leave(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(pairs)
    step = RestorationModel.optimize_parameters

    def interrupted(self: Any, current_iter: int) -> None:
        step(self, current_iter)
        if current_iter == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RestorationModel, "optimize_parameters", interrupted)
    with pytest.raises(TrainingInterrupted):
        runs.train(contents())
    end = legs(runs)[-1]["end"]
    assert (end["state"], end["iteration"]) == ("stopped", 2)

    def diverging(self: Any, current_iter: int) -> None:
        step(self, current_iter)
        self.log_dict["l_pix"] = float("nan")

    monkeypatch.setattr(RestorationModel, "optimize_parameters", diverging)
    with pytest.raises(TrainingDivergedError):
        runs.train(contents(train__max_skipped_steps=3), resume=True)
    end = legs(runs)[-1]["end"]
    assert (end["state"], end["iteration"]) == ("failed", 5)
    assert end["reason"].startswith("TrainingDivergedError: iteration 5: l_pix is nan")


def test_data_that_changed_is_said(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs(pairs)
    runs.train(contents(total=3))
    shutil.copy(pairs / "HR" / "coffee.png", pairs / "HR" / "more.png")
    shutil.copy(pairs / "LR" / "coffeex2.png", pairs / "LR" / "morex2.png")
    caplog.clear()
    runs.train(contents(total=4), resume=True)
    said = [each.getMessage() for each in caplog.records if "have changed" in each.getMessage()]
    assert [text.split(":")[0] for text in said] == ["datasets.train", "datasets.val"]
    assert "3 samples then, 4 now" in said[0]


class _Listed:
    """A dataset that lists files as BasicSR's do."""

    def __init__(self, paths: list[Any], **options: str) -> None:
        self.paths, self.opt = paths, options

    def __len__(self) -> int:
        return len(self.paths)


def test_the_fingerprint_is_of_names_and_sizes(pairs: Path) -> None:
    def of(folder: Path) -> dict[str, Any]:
        return fingerprint(_Listed(sorted(folder.glob("*.png"))))

    shutil.copytree(pairs / "HR", pairs / "elsewhere")
    assert of(pairs / "HR") == of(pairs / "elsewhere")
    with (pairs / "elsewhere" / "coffee.png").open("ab") as file:
        file.write(b"\0")
    longer = of(pairs / "elsewhere")
    assert longer != of(pairs / "HR")
    (pairs / "elsewhere" / "coffee.png").rename(pairs / "elsewhere" / "tea.png")
    assert of(pairs / "elsewhere") != longer


def test_the_fingerprint_of_an_lmdb_counts_its_size(tmp_path: Path) -> None:
    folder = tmp_path / "HR.lmdb"
    folder.mkdir()
    dataset = _Listed([{"lq_path": "a", "gt_path": "a"}], dataroot_gt=str(folder))
    (folder / "data.mdb").write_bytes(b"0")
    before = fingerprint(dataset)
    assert before["samples"] == 1
    (folder / "data.mdb").write_bytes(b"01")
    assert fingerprint(dataset)["digest"] not in (None, before["digest"])


def test_a_dataset_that_lists_nothing() -> None:
    assert fingerprint([1, 2]) == {"samples": 2, "digest": None}
    assert fingerprint(_Listed([]))["samples"] == 0


def test_two_processes_do_not_train_the_same_run(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_PATIENCE", 0.1)
    runs = Runs(pairs)
    runs.train(contents(total=3))
    before = sorted(pairs.rglob("*"))
    assert not is_running(runs.own)
    with one_process(runs.own):
        assert is_running(runs.own)
        with pytest.raises(RunBusyError, match="another process is training this run"):
            runs.train(contents(total=3))
    assert sorted(pairs.rglob("*")) == before, "its folder was renamed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are spawned: they inherit nothing")
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """Even if a process that it forked, as loaders do, lives on for a while."""
    script = (
        "import os, sys, time\n"
        "from basicsr_mambair.runs.lock import one_process\n"
        "with one_process(sys.argv[1]):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(5)\n"
        "        os._exit(0)\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    folder = tmp_path / "experiments" / "run"
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert is_running(folder)
    process.kill()
    process.wait()
    with one_process(folder):
        pass


@pytest.mark.parametrize(
    ("arguments", "environment", "command"),
    [
        (["/venv/bin/basicsr", "train", "-opt", "my file.yml"], {},
         "basicsr train -opt 'my file.yml'"),
        (["/src/basicsr_mambair/__main__.py", "train"], {}, "python -m basicsr_mambair train"),
        (["my_train.py", "-opt", "a.yml"], {}, "python my_train.py -opt a.yml"),
        (["/src/basicsr_mambair/__main__.py", "train", "--launcher", "pytorch"],
         {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"},
         "torchrun --nproc_per_node=2 -m basicsr_mambair train --launcher pytorch"),
        (["my_train.py"],
         {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "8", "WORLD_SIZE": "16"},
         "torchrun --nnodes=2 --nproc_per_node=8 my_train.py"),
    ],
)  # fmt: skip
def test_the_command_as_one_types_it(
    arguments: list[str],
    environment: dict[str, str],
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert command_line() == command


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"- 1\n", b"name: run\n"])
def test_a_damaged_record_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "provenance.yml").write_bytes(content)
    with pytest.raises(ProvenanceError, match=r"provenance\.yml: "):
        last_leg(tmp_path)
