"""The tables of the documentation are current."""

from __future__ import annotations

import pytest

from basicsr_mambair.options.tables import option_tables, with_tables
from tests.conftest import ROOT


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, (
        "run: python -m basicsr_mambair.options.tables docs/options.md"
    )


def test_keys_are_described() -> None:
    tables = option_tables()
    assert "| `total_iter` | a whole number above 0 and at most 1e+12 | required |" in tables
    assert "| `warm_start` | 'bicubic' | null |" in tables
    assert "### `datasets`: `DegradedImageDataset`" in tables


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="tables: begin"):
        with_tables("# Options")
