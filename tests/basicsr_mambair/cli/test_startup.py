"""Help and completion load nothing heavy; Ctrl-C while modules are imported ends quietly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from basicsr_mambair.cli.main import COMMANDS, main
from tests.conftest import ROOT, run_basicsr

HEAVY = {
    "PIL", "basicsr", "cv2", "einops", "matplotlib", "numpy", "safetensors", "scipy", "skimage",
    "tabulate", "torch", "torchvision", "tqdm", "yaml",
}  # fmt: skip

PROBE = """
import json, sys
from basicsr_mambair.__main__ import run
sys.argv = ["basicsr", *json.loads(sys.argv[1])]
try:
    run()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def loaded(*arguments: str, **environment: str) -> tuple[set[str], str]:
    """Top-level modules that a command line has loaded when it ends, and what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stderr.splitlines()[-1])), run.stdout


def command_lines() -> list[tuple[str, ...]]:
    """``--help`` of every command and of the commands inside them."""
    lines: list[tuple[str, ...]] = [("--help",), ("-h",), ("--version",)]
    context = click.Context(main)
    for name in COMMANDS:
        lines.append((name, "--help"))
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            lines += [(name, inner, "--help") for inner in command.list_commands(context)]
    return lines


@pytest.mark.parametrize("arguments", command_lines(), ids=" ".join)
def test_help_loads_neither_torch_nor_basicsr(arguments: tuple[str, ...]) -> None:
    modules, output = loaded(*arguments)
    assert not modules & HEAVY
    assert output


def test_completion_loads_neither_torch_nor_basicsr() -> None:
    modules, output = loaded(
        _BASICSR_COMPLETE="bash_complete", COMP_WORDS="basicsr re", COMP_CWORD="1"
    )
    assert not modules & HEAVY
    assert output.split() == ["plain,restore", "plain,report"]


def test_the_completion_script_completes_options() -> None:
    _, script = loaded(_BASICSR_COMPLETE="bash_source")
    assert "_BASICSR_COMPLETE=bash_complete" in script
    _, output = loaded(
        _BASICSR_COMPLETE="bash_complete", COMP_WORDS="basicsr restore --sk", COMP_CWORD="2"
    )
    assert output.split() == ["plain,--skip-existing"]


def test_an_unknown_command_is_one_message(tmp_path: Path) -> None:
    run = run_basicsr("restor", cwd=tmp_path)
    assert run.returncode == 2
    assert "No such command 'restor'" in run.stderr
    assert "Traceback" not in run.stderr


INTERRUPTED = """
import os, signal, sys
from basicsr_mambair.__main__ import run

wanted, option_file = sys.argv[1:]

class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["basicsr", "complexity", "-opt", option_file]
run()
"""


@pytest.mark.parametrize(
    "module",
    ["click", "basicsr_mambair.cli.main", "basicsr_mambair.cli.complexity", "numpy", "torch",
     "numpy.linalg", "torch.nn", "mambair.archs.mambairv2_arch"],
)  # fmt: skip
def test_interrupted_imports_end_without_a_traceback(module: str) -> None:
    option_file = ROOT / "options" / "test" / "tiny_x2.yml"
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module, str(option_file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 130, run.stderr
    assert "Traceback" not in run.stderr
