"""The damage of benchmarks/damage, in small doses: every fault is named or survived."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.damage import __main__ as damage
from benchmarks.damage.outcome import Outcome
from tests.conftest import ROOT

MODULES = damage.modules()
PAGE = ROOT / "docs" / "reliability.md"
COUNTS = ROOT / "docs" / "reliability.json"

# These start the command a dozen times; one kill and what follows it runs in every suite.
NIGHTLY = {"disk", "numbers", "processes", "signals", "twins"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does")


def check(name: str, budget: int, seed: int, folder: Path) -> None:
    """Does damage, none of which may fail without a name."""
    outcomes = MODULES[name].provoke(budget, seed, folder)
    unnamed = [text for each in outcomes for text in each.unnamed]
    assert unnamed == [], f"seed {seed}"
    assert any(each.tried or each.note for each in outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODULES.keys() - NIGHTLY))
def test_a_little_of_every_damage(name: str, tmp_path: Path) -> None:
    check(name, MODULES[name].QUICK, 0, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(MODULES))
def test_more_damage_that_differs_every_time(name: str, tmp_path: Path) -> None:
    check(name, max(MODULES[name].QUICK, MODULES[name].FULL // 5), time.time_ns(), tmp_path)


def test_the_command_counts_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = {"good": Outcome("drops", named=1, survived=2), "bad": Outcome("knocks", 0, 1)}
    outcomes["bad"].unnamed.append("a crash at seed 3")

    def module(name: str) -> Any:
        return SimpleNamespace(
            QUICK=1, FULL=9, provoke=lambda budget, seed, folder: [outcomes[name]]
        )

    monkeypatch.setattr(damage, "modules", lambda: {name: module(name) for name in outcomes})
    out = tmp_path / "counts.json"
    for name, status in (("good", 0), ("bad", 1)):
        monkeypatch.setattr(sys, "argv", ["damage", "--only", name, "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            damage.main()
        assert ended.value.code == status
    assert "bad: knocks: a crash at seed 3" in capsys.readouterr().out
    counts = json.loads(out.read_text())["modules"]  # the second run keeps what the first found
    assert counts["good"]["outcomes"][0]["tried"] == 3
    assert counts["bad"]["budget"] == 9


def test_the_page_names_tests_that_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())
    assert len(named) > 30
    for path, test in named:
        assert f"def {test}" in (ROOT / path).read_text(), f"{path}::{test}"


def test_the_page_has_the_counts_of_the_run() -> None:
    """Every row of the run is one of the page, with its counts; nothing failed unnamed."""
    page = PAGE.read_text()
    modules = json.loads(COUNTS.read_text())["modules"]
    assert modules.keys() <= MODULES.keys()
    rows = damage.table({"modules": modules}).splitlines()
    assert [row for row in rows if row not in page] == []
    assert [
        each["unnamed"] for m in modules.values() for each in m["outcomes"] if each["unnamed"]
    ] == []
