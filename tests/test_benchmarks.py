"""The benchmarks run, and write what they say they write. Their figures are nobody's test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_quick_run(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/run.py", "--quick", "--out", tmp_path]
    for section in ("attention", "scaling"):
        command += ["--only", section]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads((tmp_path / "benchmarks.json").read_text())
    assert len(figures["bars"]) == 2
    assert all(bar["value"] > 0 for bar in figures["bars"])
    page = (tmp_path / "benchmarks.md").read_text()
    assert "### MambaIRv2Light ×2 by size, eval" in page and "| figure |" in page
    assert (tmp_path / "benchmarks.svg").stat().st_size > 1000
