"""Everything that may stand in a folder under the name of a picture, and the smallest pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.damage.child import Child
from benchmarks.damage.commands import call, workplace
from benchmarks.damage.entries import ENTRIES, SIZES, write_picture
from benchmarks.damage.files import READERS

# BasicSR's own dataset passes over what is no file; a folder without pictures is an error then.
OVER_FOLDERS = ("PairedImageDataset",)
COMMANDS = {
    "restore": "restore LR -o out -w weights.pth",
    "lr": "prepare lr HR --scale 2 -o lr",
    "crops": "prepare crops HR -o crops",
    "lmdb": "prepare lmdb HR -o a.lmdb",
    "check": "prepare check -opt train.yml --decode",
    "preview": "preview -opt train.yml -o sheet.png",
    "train": "train -opt train.yml",
    "test": "test -opt test.yml",
    "test of BasicSR's model": "test -opt stock.yml",
    "report": "report -opt test.yml",
}
# In every run of the suite; the others nightly.
USUAL = ("a pipe", "a picture cut off", "bytes that are no text in the name")


@pytest.mark.parametrize("what", ENTRIES)
def test_readers(what: str, tmp_path: Path, child: Child) -> None:
    name, make = ENTRIES[what]
    (tmp_path / "alone").mkdir()
    make(tmp_path / "alone" / name)
    for reader, read in READERS.items():
        names = "alone" if reader in OVER_FOLDERS else name
        verdict = child.run(read, str(tmp_path / "alone" / name), names=names)
        assert verdict, (reader, verdict.said)


@pytest.mark.parametrize(
    "what",
    [each if each in USUAL else pytest.param(each, marks=pytest.mark.nightly) for each in ENTRIES],
)
def test_commands(what: str, tmp_path: Path, child: Child) -> None:
    """Beside two good pairs, of which one command after the other makes what it can."""
    workplace(tmp_path / "place")
    name, make = ENTRIES[what]
    for folder in ("HR", "LR"):
        make(tmp_path / "place" / folder / name)
    run_commands(tmp_path / "place", child, what == "no permission", name)


def test_smallest_pictures(tmp_path: Path, child: Child) -> None:
    workplace(tmp_path / "place")
    for what, (height, width) in SIZES.items():
        for folder, scale in (("HR", 2), ("LR", 1)):
            path = tmp_path / "place" / folder / f"{what.replace(' ', '_')}.png"
            write_picture(path, scale * height, scale * width)
    run_commands(tmp_path / "place", child, False, "")


def run_commands(place: Path, child: Child, as_nobody: bool, names: str) -> None:
    for command, line in COMMANDS.items():
        if as_nobody:
            for each in (place, *place.rglob("*")):
                shutil.chown(each, "nobody")
        # BasicSR's dataset says which folders do not match.
        named = "LR" if command.endswith("BasicSR's model") else names
        verdict = child.run(call, line.split(), str(place), named, as_nobody)
        assert verdict, (command, verdict.said)
