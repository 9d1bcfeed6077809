"""``docs/degradations.md``: complete, up to date, and its example works."""

from __future__ import annotations

import re

import numpy as np
import yaml

from basicsr_mambair.data.degradations import DEGRADATIONS, build_degradation
from basicsr_mambair.data.degradations.__main__ import degradation_tables
from basicsr_mambair.data.degradations.arguments import check_arguments
from basicsr_mambair.options.calls import parameters_of
from basicsr_mambair.options.tables import BEGIN, with_tables
from tests.conftest import ROOT, photograph

PAGE = (ROOT / "docs" / "degradations.md").read_text(encoding="utf-8")


def test_the_page_has_the_tables_of_the_code() -> None:
    assert with_tables(PAGE, degradation_tables()) == PAGE, (
        "run: python -m basicsr_mambair.data.degradations docs/degradations.md"
    )


def test_every_degradation_and_argument_is_described() -> None:
    overview = PAGE.partition(BEGIN)[0]
    for name, cls in DEGRADATIONS.items():
        if not cls.__module__.startswith("basicsr_mambair."):
            continue
        assert f"`{name}`" in overview
        section = PAGE.partition(f"### `{name}`")[2].partition("\n### ")[0]
        for key in parameters_of(cls):
            assert re.search(rf"^\| `{key}` \| .+ \| .+ \| .+ \|$", section, re.MULTILINE), key


def test_the_example_of_the_page_runs() -> None:
    example = PAGE.partition("## Composing\n\n")[2].partition("\n\n")[0]
    sections = yaml.safe_load(example)["degradation"]
    check_arguments(sections)
    degradation = build_degradation(sections, scale=2)
    image = photograph()
    for seed in range(4):
        assert degradation(image, np.random.default_rng(seed)).shape == (48, 64, 3)
