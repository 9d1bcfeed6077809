"""Pictures and helpers that the tests of preparing data share."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from basicsr_mambair.cli import main
from tests.conftest import photograph

NAMES = ("astronaut", "chelsea", "coffee")


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three photographs whose sides are not multiples of 2 or 3."""
    folder = tmp_path / "Photos" / "HR"
    folder.mkdir(parents=True)
    for name in NAMES:
        assert cv2.imwrite(str(folder / f"{name}.png"), photograph(name, 97, 131))
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
