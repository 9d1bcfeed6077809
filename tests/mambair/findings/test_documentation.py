"""Examples in docstrings run; the page shows every picture of its folder and no other."""

from __future__ import annotations

import doctest
import importlib
import re

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["", ".drawing", ".receptive_field"])
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"mambair.findings{name}"))
    assert result.attempted and not result.failed


def test_pictures_of_the_page() -> None:
    page = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\(images/findings/([\w/]+\.png)\)", page))
    folder = ROOT / "docs/images/findings"
    assert shown == {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
