"""Which files ``basicsr restore`` takes, and what it says of the others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.damage.entries import bomb
from mambair.imaging.picture_file import read_picture_file
from mambair.imaging.pillow import register_heif
from mambair.imaging.reading import read_image
from tests.basicsr_mambair.cli.restoring import PICTURES, restore, restore_to
from tests.conftest import photograph

pytestmark = pytest.mark.usefixtures("workplace")


def test_one_file_in_two_spellings_is_one_picture(workplace: Path) -> None:
    os.mkdir("photos")
    Image.fromarray(photograph(height=12, width=16)).save("photos/a.png")
    text = restore("photos/a.png", workplace / "photos/a.png", "photos/../photos/a.png")
    assert "1 of 1 pictures" in text


def test_patterns_reach_folders_if_asked_to(workplace: Path) -> None:
    os.makedirs("photos_1/inner")
    Image.fromarray(photograph(height=12, width=16)).save("photos_1/inner/a.png")
    text = restore("photos_*", status=1)
    assert "photos_*: no picture of this pattern (1 sub-folders: photos_1)" in text
    os.makedirs("photos_2/inner")
    shutil.copy("photos_1/inner/a.png", "photos_2/inner/a.png")
    assert "2 of 2 pictures" in restore("photos_*", "--recursive")
    for folder in ("photos_1", "photos_2"):
        assert read_image(f"out/{folder}/inner/a.png").shape == (24, 32, 3)
    Path("out/mine.png").write_bytes(Path("photos_1/inner/a.png").read_bytes())
    text = restore("*", "--recursive", "--skip-existing")
    assert "2 were there already" in text
    assert "1 results that were written there: out" in text


def test_results_beside_their_pictures_are_no_pictures(workplace: Path) -> None:
    """The run is interrupted, and goes on."""
    os.mkdir("photos")
    for name in "abc":
        Image.fromarray(photograph(height=12, width=16)).save(f"photos/{name}.png")
    arguments = ("photos", "--suffix", "_x2", "--compare")
    assert "3 of 3" in restore_to("photos", *arguments)[1]
    os.remove("photos/b_x2.png")
    status, text = restore_to("photos", *arguments, "--skip-existing")
    assert status == 0, text
    assert "1 of 1 pictures restored to photos; 2 were there already" in text
    assert "left out: photos: 5 results that were written there" in text
    named = sorted(map(str, Path("photos").glob("*.png")))  # as the shell reads a pattern
    status, text = restore_to("photos", *named, *arguments[1:], "--skip-existing")
    assert (status, "3 were there already" in text) == (0, True), text
    os.mkdir("alone")
    shutil.copy("photos/a.png", "a.png")
    restore_to("alone", "a.png")
    status, text = restore_to("alone", "alone", "--suffix", "_again")
    assert status == 1
    assert "alone: all pictures in it are results that were written there" in text
    assert len(list(Path("photos").glob("*.png"))) == 9
    # Into another folder, results are pictures like others.
    assert "9 of 9" in restore("photos")


def test_what_is_left_out_of_a_folder_is_said(workplace: Path) -> None:
    """P1: formats that can be read are done, all frames and pages; the rest is named."""
    photo = Image.fromarray(photograph(height=20, width=30)[..., ::-1])
    folder = workplace / "photos"
    (folder / "trips" / "2025").mkdir(parents=True)
    register_heif()
    for name in ("a.avif", "b.gif", "c.heic", "d.png", "trips/e.png", "trips/2025/f.jpg"):
        photo.save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    for name in ("pages.tif", "anim.png"):
        shutil.copy(PICTURES / name, folder)
    output = restore("photos")
    assert "6 of 6 pictures restored to out" in output
    assert "left out: photos: 1 sub-folders: trips (--recursive restores" in output
    assert "left out: photos: 1 files that are no pictures: notes.txt" in output
    assert "note: 1 ×: colors became 256, all that gif can hold" in output
    pages = read_picture_file("out/pages.tif")
    assert [each.shape for each in pages.frames] == [(80, 120, 3)] * 3
    animation = read_picture_file("out/anim.png")
    assert [each.shape for each in animation.frames] == [(80, 120, 3)] * 3
    assert animation.timing == read_picture_file(PICTURES / "anim.png").timing
    for name in ("a.avif", "b.gif", "c.heic"):
        assert read_image(Path("out", name)).shape[:2] == (40, 60)

    output = restore("photos", "--recursive", "--skip-existing")
    assert "2 of 2 pictures restored to out; 6 were there already" in output
    assert "sub-folders" not in output
    assert read_image("out/trips/e.png").shape == read_image("out/trips/2025/f.jpg").shape


def test_the_folder_of_the_results_is_no_source(workplace: Path) -> None:
    shutil.copy(PICTURES / "l_trns.png", workplace)
    assert "1 of 1 pictures" in restore(".", "--recursive")
    output = restore(".", "--recursive")
    assert "1 of 1 pictures" in output
    assert "left out: .: 1 folders of results: out" in output


@pytest.mark.parametrize("content", ["nothing", "folders", "texts"])
def test_a_folder_without_pictures(content: str, workplace: Path) -> None:
    """P9: what is there is said, and what counts."""
    folder = workplace / "photos"
    folder.mkdir()
    expected = "it is empty"
    if content == "folders":
        (folder / "2025").mkdir()
        expected = "1 sub-folders: 2025"
    elif content == "texts":
        (folder / "a.txt").write_text("")
        (folder / ".b.png").write_text("")
        expected = "1 hidden entries: .b.png; 1 files that are no pictures: a.txt"
    output = restore("photos", status=1)
    assert f"photos: no picture in this folder ({expected})" in output
    assert ".avif, .gif" in output


def test_every_kind_of_damage_is_named_and_the_rest_is_done(workplace: Path) -> None:
    photo = Image.fromarray(photograph(height=40, width=60)[..., ::-1])
    folder = workplace / "photos"
    folder.mkdir()
    photo.save(folder / "good.png")
    for name in ("cut.png", "cut.jpg", "cut.webp", "cut.tif", "cut.gif", "cut.avif", "cut.bmp"):
        photo.save(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "bomb.png").write_bytes(bomb(60000, 60000))
    Image.fromarray(np.zeros((9, 9), np.float32)).save(folder / "float.tif")
    (folder / "good\nname.png").write_bytes((folder / "good.png").read_bytes())
    output = restore("photos", status=1)
    assert "2 of 16 pictures restored to out" in output, output
    assert "Traceback" not in output
    assert "EXIF" not in output
    for name, reason in (
        ("cut.png", "not a readable picture"),
        ("cut.jpg", "not a readable picture"),
        ("cut.webp", "not a readable picture"),
        ("cut.tif", "not a readable picture"),
        ("cut.gif", "not a readable picture"),
        ("cut.avif", "not a readable picture"),
        ("cut.bmp", "not a readable picture"),
        ("empty.png", "not a readable picture: the file is empty"),
        ("text.jpg", "not a readable picture"),
        ("loop.png", "cannot be read: Too many levels of symbolic links"),
        ("gone.png", "cannot be read: No such file or directory"),
        ("pipe.png", "is not a file but a pipe"),
        ("bomb.png", "claims 60000×60000 pixels in"),
        ("float.tif", "pixels are float32"),
    ):
        assert f"not restored: photos/{name}: {reason}" in output, output
    assert read_image("out/good\nname.png").shape == (80, 120, 3)


def test_what_is_named_alone_is_not_waited_for(workplace: Path) -> None:
    os.mkfifo("pipe.png")
    Path("loop.png").symlink_to("loop.png")
    assert "loop.png: cannot be read: Too many levels" in restore("loop.png", status=1)
    assert "pipe.png: is not a file but a pipe" in restore("pipe.png", status=1)


def test_a_picture_that_vanishes(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mambair.inference import file_to_file

    for name in ("a.png", "b.png"):
        Image.new("L", (9, 9)).save(name)
    read = file_to_file.read_picture_file

    def vanish(path: Path) -> object:
        Path("b.png").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(file_to_file, "read_picture_file", vanish)
    output = restore("a.png", "b.png", status=1)
    assert "not restored: b.png: cannot be read: No such file or directory" in output
    assert "1 of 2 pictures restored" in output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read(workplace: Path) -> None:
    Image.new("L", (9, 9)).save("a.png")
    Path("a.png").chmod(0)
    assert "a.png: cannot be read: Permission denied" in restore("a.png", status=1)
