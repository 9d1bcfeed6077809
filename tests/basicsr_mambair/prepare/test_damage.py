"""Folders with everything that is no picture: each thing is named, and the pictures are done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.damage.entries import bomb
from tests.basicsr_mambair.prepare.conftest import NAMES, invoke, names_in
from tests.conftest import ROOT

DAMAGE = {
    "pipe.png": "is not a file but a pipe, a socket or a device",
    "loop.png": "cannot be read: Too many levels of symbolic links",
    "gone.png": "cannot be read: No such file or directory",
    "empty.png": "not a readable picture",
    "text.png": "not a readable picture",
    "cut.png": "not a readable picture",
    "bomb.png": "claims 60000×60000 pixels",
}


@pytest.fixture
def damaged(pictures: Path) -> Path:
    """The three photographs, and everything else."""
    os.mkfifo(pictures / "pipe.png")
    (pictures / "loop.png").symlink_to("loop.png")
    (pictures / "gone.png").symlink_to("nowhere.png")
    (pictures / "empty.png").touch()
    (pictures / "text.png").write_text("no picture")
    content = (pictures / "coffee.png").read_bytes()
    (pictures / "cut.png").write_bytes(content[: len(content) // 2])
    (pictures / "bomb.png").write_bytes(bomb(60000, 60000))
    (pictures / "sub").mkdir()
    (pictures / "notes.txt").touch()
    return pictures


@pytest.mark.parametrize(
    ("command", "results"),
    [
        (["lr", "--scale", "2", "-o", "out"], [f"{name}x2.png" for name in NAMES]),
        (["jpeg", "-q", "30", "-o", "out"], [f"{name}.jpg" for name in NAMES]),
        (["crops", "-o", "out"], [f"{name}_s001.png" for name in NAMES]),
        (["lmdb", "-o", "out.lmdb"], None),
    ],
    ids=["lr", "jpeg", "crops", "lmdb"],
)
def test_prepare_names_the_damage_and_does_the_rest(
    command: list[str],
    results: list[str] | None,
    damaged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *arguments = command
    code, output = invoke("prepare", name, damaged, *arguments)
    assert code == 1
    assert "3 pictures done, 7 failed" in output
    assert "Traceback" not in output
    for file, reason in DAMAGE.items():
        if command[0] == "jpeg" and file == "bomb.png":
            reason = "not a readable picture"
        assert f"{damaged / file}: {reason}" in output, output
    assert f"left out: {damaged}: 1 sub-folders: sub" in output
    assert f"left out: {damaged}: 1 files that are no pictures: notes.txt" in output
    if results is not None:
        assert names_in(tmp_path / "out") == results


def test_names_with_line_breaks(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (pictures / "coffee.png").rename(pictures / "cof\nfeex2.png")
    assert invoke("prepare", "crops", pictures, "-o", "crops")[0] == 0
    assert "cof\nfee_s001x2.png" in names_in(tmp_path / "crops")
    assert invoke("prepare", "lr", pictures, "--scale", 2, "-o", "lr")[0] == 0
    code, output = invoke("prepare", "lmdb", pictures, "-o", "a.lmdb")
    assert code == 1
    assert "feex2.png: this name cannot be a key of an LMDB" in output
    assert not Path("a.lmdb").exists()


def test_names_that_are_no_text(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (pictures / "coffee.png").rename(pictures / os.fsdecode(b"caf\xe9.png"))
    code, output = invoke("prepare", "crops", pictures, "-o", "crops")
    assert code == 0, output
    assert os.fsdecode(b"caf\xe9_s001.png") in names_in(tmp_path / "crops")
    code, output = invoke("prepare", "lmdb", pictures, "-o", "a.lmdb")
    assert code == 1
    assert "this name cannot be a key of an LMDB" in output


def test_the_smallest_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for width, height in ((1, 1), (1, 30), (30, 1)):
        Image.new("RGB", (width, height)).save(f"in/{width}x{height}.png")
    code, output = invoke("prepare", "lr", "in", "--scale", 2, "-o", "lr")
    assert code == 1
    assert output.count("is smaller than 2 pixels") == 3
    assert invoke("prepare", "jpeg", "in", "-q", 30, "-o", "jpeg")[0] == 0
    assert invoke("prepare", "crops", "in", "-o", "crops")[0] == 0
    assert len(names_in(tmp_path / "crops")) == 3


@pytest.mark.parametrize(
    "command",
    [
        ("lr", "--scale", "2", "-o", "out"),
        ("jpeg", "-q", "30", "-o", "out"),
        ("crops", "-o", "out"),
        ("lmdb", "-o", "out.lmdb"),
    ],
    ids=["lr", "jpeg", "crops", "lmdb"],
)
def test_pages_and_frames_that_are_not_taken_are_said(
    command: tuple[str, ...], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("anim.png", "pages.tif"):
        shutil.copy(ROOT / "tests" / "data" / "pictures" / name, pictures)
    code, output = invoke("prepare", command[0], pictures, *command[1:])
    assert code == 0, output
    expected = "note: 2 pictures have further pages or frames, which were not taken: "
    assert expected in output
    assert {"anim.png", "pages.tif"} == set(output.split(expected)[1].splitlines()[0].split(", "))
    assert "5 pictures done" in output
