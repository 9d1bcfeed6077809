"""The arguments of a run, from our commands and from a script's ``sys.argv``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from basicsr_mambair.training.arguments import RunArguments, parse_command_line


def test_a_script_accepts_the_arguments_of_basicsr(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "my_train.py -opt run.yml --launcher pytorch --local-rank 1 --auto_resume"
    line += " --force_yml name=x train:total_iter=3"
    monkeypatch.setattr(sys, "argv", line.split())
    assert parse_command_line("train") == RunArguments(
        "run.yml", "pytorch", auto_resume=True, local_rank=1,
        force_yml=["name=x", "train:total_iter=3"],
    )  # fmt: skip


def test_what_is_wrong_ends_the_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["my_train.py", "-opt", "run.yml", "train:total_iter=3"])
    with pytest.raises(SystemExit) as stopped:
        parse_command_line("train")
    assert stopped.value.code == 2
    assert "to change an option: --force_yml train:total_iter=3" in capsys.readouterr().err


def test_asking_for_the_arguments_loads_neither_torch_nor_basicsr() -> None:
    code = (
        "import basicsr_mambair.training.arguments, sys; "
        "print([name for name in ('basicsr', 'torch', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
