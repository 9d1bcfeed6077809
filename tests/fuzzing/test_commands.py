"""Command lines with a strange value: one sentence, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.damage.child import Child
from benchmarks.damage.commands import call_line, strange_lines, workplace


def test_strange_values(tmp_path: Path, child: Child) -> None:
    place = workplace(tmp_path / "place")
    lines = strange_lines()
    assert len(lines) > 1500

    # Some are accepted, and work for seconds.
    @settings(max_examples=settings().max_examples * 2)
    @given(st.sampled_from(lines))
    def search(line: list[str]) -> None:
        verdict = child.run(call_line, line, str(place))
        assert verdict, verdict.said

    search()


@pytest.mark.skipif(os.name != "posix", reason="pipes of other systems do not close like this")
@pytest.mark.parametrize("command", ["models", "doctor", "--help"])
def test_a_reader_that_goes_away(command: str, tmp_path: Path) -> None:
    """As in ``basicsr models | head -0``."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "basicsr_mambair", command],
            cwd=tmp_path,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.stderr == ""
