"""What is published with the code: its examples run, and its files agree on the version."""

from __future__ import annotations

import doctest
import importlib
import re
from importlib.metadata import metadata, requires
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from mambair import __version__
from tests.conftest import ROOT


def modules_with_examples() -> list[str]:
    """Every module of mambair whose docstrings hold an example."""
    sources = sorted((ROOT / "mambair").rglob("*.py"))
    with_examples = [path for path in sources if ">>> " in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in with_examples]
    return [name.removesuffix(".__init__") for name in names]


def test_there_are_examples() -> None:
    assert "mambair" in modules_with_examples()


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # examples need no clone and leave nothing in one
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


def test_changelog_and_citation_name_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    latest = re.search(r"^## (\S+) – (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert latest is not None
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert latest[1] == citation["version"] == __version__
    assert latest[2] == str(citation["date-released"])
    for paper in ("2411.15269", "2402.15648"):
        assert any(paper in reference["url"] for reference in citation["references"])


def test_the_packages_say_that_they_are_typed() -> None:
    for package in ("mambair", "basicsr_mambair"):
        assert files(package).joinpath("py.typed").is_file()
    assert "Typing :: Typed" in metadata("basicsr-mambair").get_all("Classifier", [])


def test_basicsr_is_asked_for_where_it_can_be_built() -> None:
    wanted = [each for each in requires("basicsr-mambair") or [] if each.startswith("basicsr==")]
    assert len(wanted) == 1
    assert re.search(r"python_version < .3\.13.", wanted[0])
