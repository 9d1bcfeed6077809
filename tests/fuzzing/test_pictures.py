"""Pictures whose bytes are damaged: everything that reads pictures reads or names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.damage.child import Child
from benchmarks.damage.damaged_bytes import Damage, apply_all
from benchmarks.damage.files import READERS, alone, read_everywhere, whole_files
from mambair.imaging.formats import FORMATS
from tests.fuzzing.conftest import DAMAGES

EXTENSIONS = sorted({form.extensions[0] for form in FORMATS if form.is_available})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, Path]:
    return whole_files(folder / "whole")


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_whole_files_are_read(
    extension: str, whole: dict[str, Path], folder: Path, child: Child
) -> None:
    """The damage below is worth something only if it is the damage that is refused."""
    for path in whole.values():
        if path.suffix != extension:
            continue
        place = alone(folder, path.name, path.read_bytes())
        refused = {name for name, each in read_everywhere(child, place).items() if each.said}
        only_restored = extension in (".gif", ".avif", ".heic")
        allowed = set(READERS) - {"header", "image", "restore"} if only_restored else set()
        assert refused <= allowed


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_damage_is_named(
    extension: str, whole: dict[str, Path], folder: Path, child: Child
) -> None:
    contents = [path.read_bytes() for path in whole.values() if path.suffix == extension]
    others = [path.read_bytes() for path in whole.values()]

    @given(st.sampled_from(contents), st.sampled_from(others), DAMAGES, st.data())
    def search(content: bytes, other: bytes, damages: list[Damage], data: st.DataObject) -> None:
        name = f"picture{data.draw(st.sampled_from([extension, extension, *EXTENSIONS]))}"
        path = alone(folder, name, apply_all(damages, content, other))
        for reader, verdict in read_everywhere(child, path).items():
            assert verdict, (reader, verdict.said)

    search()
