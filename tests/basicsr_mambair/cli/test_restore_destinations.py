"""Where the results of ``basicsr restore`` go, and what they may replace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from basicsr_mambair.cli import main
from mambair.imaging.reading import read_image
from tests.basicsr_mambair.cli.restoring import restore, restore_to
from tests.conftest import photograph

pytestmark = pytest.mark.usefixtures("workplace")


def test_a_single_result_may_be_named(workplace: Path) -> None:
    Image.fromarray(photograph(height=12, width=16)).save("a.png")
    status, output = restore_to("new/large.jpg", "a.png", "--compare")
    assert status == 0, output
    assert "1 of 1 pictures restored to new/large.jpg" in output
    with Image.open("new/large.jpg") as restored:
        assert (restored.format, restored.size) == ("JPEG", (32, 24))
    assert sorted(os.listdir("new")) == [".restored.jsonl", "large.jpg", "large_compare.png"]
    # Once more, from the folder that holds this picture alone, and into the current directory.
    os.mkdir("photos")
    shutil.copy2("a.png", "photos/a.png")
    status, output = restore_to("large.png", "photos")
    assert status == 0, output
    assert read_image("large.png").shape == (24, 32, 3)
    status, output = restore_to("large.png", "photos", "--skip-existing")
    assert (status, "0 of 0" in output, "1 was there" in output) == (0, True, True), output


def test_a_named_result_replaces_nothing_by_accident(workplace: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(photograph(height=12, width=16)).save(name)
    Path("notes.txt").write_text("mine")
    contents = {name: Path(name).read_bytes() for name in ("a.png", "b.png", "notes.txt")}
    for output, arguments, said in (
        ("a.png", ["a.png"], "a.png: is a picture of the source"),
        ("b.png", ["a.png"], "b.png: is there, and is no result of this command"),
        ("c.png", ["a.png", "b.png"], "c.png names one file for the results of 2 pictures"),
        ("c.png", ["a.png", "--format", "jpg"], "-o c.png names the file, and so does --format"),
        ("c.png", ["a.png", "--suffix", "x2"], "-o c.png names the file, and so does --suffix"),
        ("notes.txt", ["a.png"], "notes.txt: is there, and is neither a folder nor a picture"),
    ):
        status, text = restore_to(output, *arguments)
        assert status == 2, text
        assert said in " ".join(text.split()), text
    assert {name: Path(name).read_bytes() for name in contents} == contents
    assert not Path("c.png").exists()
    status, text = restore_to("b.png", "a.png", "--overwrite")
    assert status == 0, text
    assert read_image("b.png").shape == (24, 32, 3)


@pytest.mark.parametrize("name", ["a.jp2", "a.tga"])
def test_a_picture_of_another_format_is_no_folder(name: str, workplace: Path) -> None:
    Image.fromarray(photograph(height=12, width=16)).save("a.png")
    status, text = restore_to(name, "a.png")
    assert status == 2
    assert f"{name}: pictures cannot be written as '{name[1:]}'" in " ".join(text.split())
    assert not Path(name).exists()


@pytest.mark.parametrize(
    ("output", "result"),
    [
        ("~/large.png", "home/large.png"),
        ("new.png/", "new.png/a.png"),
        ("old.png", "old.png/a.png"),  # is a folder
    ],
)
def test_which_file_is_meant(
    output: str, result: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(workplace / "home"))
    os.mkdir("old.png")
    Image.fromarray(photograph(height=12, width=16)).save("a.png")
    status, text = restore_to(output, "a.png")
    assert status == 0, text
    assert read_image(result).shape == (24, 32, 3)


def test_empty_names_are_refused(workplace: Path) -> None:
    Image.fromarray(photograph(height=12, width=16)).save("a.png")
    for output, source, status in (("out", "", 1), ("", "a.png", 2)):
        found, text = restore_to(output, source)
        assert (found, "'' names no file or folder" in text) == (status, True), text
    assert not Path("out").exists()


@pytest.mark.parametrize("suffix", ["_26/11", "/../../x"])
def test_a_suffix_stays_in_the_folder(suffix: str, workplace: Path) -> None:
    Image.fromarray(photograph(height=12, width=16)).save("a.png")
    text = restore("a.png", "--suffix", suffix, status=2)
    assert f"suffix '{suffix}': cannot be a part of file names" in text
    assert not Path("out").exists()


def test_comparisons_are_results_too(workplace: Path) -> None:
    Image.fromarray(photograph(height=12, width=16)).save("a.png")
    os.mkdir("out")
    Path("out/a_compare.png").write_bytes(b"mine")
    text = restore("a.png", "--compare", status=2)
    assert "a_compare.png: is there, and is no result of this command" in text
    assert Path("out/a_compare.png").read_bytes() == b"mine"
    restore("a.png")
    os.remove("out/a_compare.png")
    # A result without its comparison is not finished.
    assert "1 of 1" in restore("a.png", "--compare", "--skip-existing")
    assert read_image("out/a_compare.png").size
    assert "1 was there already" in restore("a.png", "--compare", "--skip-existing")


def test_pictures_of_one_size_and_time_are_told_apart(workplace: Path) -> None:
    for folder, name in (("morning", "coffee"), ("evening", "chelsea")):
        os.mkdir(folder)
        Image.fromarray(photograph(name, 12, 16)).save(f"{folder}/1.bmp")
        os.utime(f"{folder}/1.bmp", (1e9, 1e9))
    restore("morning")
    before = Path("out/1.bmp").read_bytes()
    for option in ("--skip-existing", "--self-ensemble"):
        text = " ".join(restore("evening", option, status=2).split())
        assert "is the result of another picture" in text
    assert Path("out/1.bmp").read_bytes() == before
    shutil.copytree("morning", "copy")  # is the same picture
    assert "1 was there already" in restore("copy", "--skip-existing")


def test_results_of_different_tasks_do_not_meet(workplace: Path) -> None:
    """P7"""
    Image.fromarray(photograph(height=20, width=30)[..., ::-1]).save("thumb.jpg")
    runner = CliRunner()
    for arguments, said in (
        (["--task", "jpeg"], "1 of 1 pictures restored to restored/tiny_jpeg"),
        (["--skip-existing"], "1 of 1 pictures restored to restored/tiny_x2"),
        (["--skip-existing"], "0 of 0 pictures restored to restored/tiny_x2; 1 was there already"),
        (["--scale", "3", "--skip-existing"], "1 of 1 pictures restored to restored/tiny_x3"),
    ):
        result = runner.invoke(main, ["restore", "thumb.jpg", *arguments])
        assert result.exit_code == 0, result.output
        assert said in result.output
    assert read_image("restored/tiny_jpeg/thumb.jpg").shape == (20, 30, 3)
    assert read_image("restored/tiny_x2/thumb.jpg").shape == (40, 60, 3)


def test_a_result_is_replaced_only_by_one_of_the_same_picture_and_network(
    workplace: Path,
) -> None:
    photo = Image.fromarray(photograph(height=20, width=30)[..., ::-1])
    photo.save("a.png")
    restore("a.png")
    first = Path("out/a.png").read_bytes()
    restore("a.png", "--self-ensemble")  # a variant of the same result
    assert Path("out/a.png").read_bytes() != first

    result = CliRunner().invoke(main, ["restore", "a.png", "-o", "out", "--task", "jpeg"])
    assert result.exit_code == 2
    assert "out/a.png: is the result of other weights or of another use of them (tiny)" in (
        result.output.replace("\n", " ")
    )
    (workplace / "other").mkdir()
    photo.rotate(90).save("other/a.png")
    for extra in ([], ["--skip-existing"]):
        output = restore("other/a.png", *extra, status=2)
        assert "is the result of another picture" in output
    restore("other/a.png", "--overwrite")
    photo.save("out/a.png")  # somebody works on the result
    assert "is no result of this command or was changed" in restore("other/a.png", status=2)
    assert read_image("out/a.png").shape == (20, 30, 3)


def test_a_changed_picture_is_restored_again(workplace: Path) -> None:
    photo = Image.fromarray(photograph(height=20, width=30)[..., ::-1])
    photo.save("a.png")
    restore("a.png")
    assert "0 of 0" in restore("a.png", "--skip-existing")
    photo.crop((0, 0, 10, 10)).save("a.png")
    assert "1 of 1" in restore("a.png", "--skip-existing")
    assert read_image("out/a.png").shape == (20, 20, 3)


def test_two_runs_fill_one_folder(workplace: Path) -> None:
    """Both end well, whatever they write at the same time; every result is complete."""
    (workplace / "photos").mkdir()
    photo = Image.fromarray(photograph(height=20, width=30)[..., ::-1])
    for index in range(6):
        photo.save(f"photos/{index}.png")
    command = [sys.executable, "-m", "basicsr_mambair", "restore", "photos", "-o", "out"]
    runs = [
        subprocess.Popen([*command, "-w", "tiny"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    for run in runs:
        output = run.communicate(timeout=240)[0].decode()
        assert run.returncode == 0, output
        assert "6 of 6 pictures restored to out" in output
    assert len(list(Path("out").glob("[!.]*"))) == 6
    assert not list(Path("out").glob("*.part"))
    assert "6 were there already" in restore("photos", "--skip-existing")
