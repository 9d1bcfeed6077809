"""What several tests of the command line need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mambair.inference.test_restorer import bicubic_network


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in which ``-w tiny`` names a quick network of scale 2."""
    bicubic_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
