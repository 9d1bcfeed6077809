"""``basicsr restore`` with a quick network, for the tests of the command."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from basicsr_mambair.cli import main

PICTURES = Path(__file__).resolve().parents[2] / "data" / "pictures"


def restore(*arguments: object, status: int = 0) -> str:
    """Runs the command with the quick network into ``out``; returns what it says."""
    found, output = restore_to("out", *arguments)
    assert found == status, output
    return output


def restore_to(output: str, *arguments: object) -> tuple[int, str]:
    """Runs the command with the quick network; returns its exit status and what it says."""
    command = ["restore", *map(str, arguments), "-w", "tiny", "-o", output]
    result = CliRunner().invoke(main, command)
    return result.exit_code, result.output
