"""LMDBs and MATLAB's files whose bytes are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from benchmarks.damage.child import Child
from benchmarks.damage.damaged_bytes import Damage
from benchmarks.damage.stores import STORES, damage, whole_store
from tests.fuzzing.conftest import DAMAGES


@pytest.mark.parametrize("name", STORES)
def test_damage_is_named(name: str, tmp_path: Path, child: Child) -> None:
    whole = whole_store(name, tmp_path)
    assert damage(child, name, whole, []).kind == "survived"

    # An LMDB is looked at by a process of its own every time.
    @settings(max_examples=settings().max_examples // (8 if STORES[name].startswith("a.") else 1))
    @given(DAMAGES)
    def search(damages: list[Damage]) -> None:
        verdict = damage(child, name, whole, damages, b"\xff\0PK")
        assert verdict, verdict.said

    search()
