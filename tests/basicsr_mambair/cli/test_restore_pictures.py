"""``basicsr restore`` on the pictures of ``tests/data/pictures``: nothing of them gets lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from basicsr_mambair.cli import main
from benchmarks.damage.entries import bomb
from mambair.imaging.picture_file import read_picture_file
from mambair.imaging.pillow import register_heif
from mambair.imaging.reading import read_image
from mambair.imaging.transparency import lay_on_white
from tests.conftest import photograph
from tests.mambair.inference.test_restorer import bicubic_network

PICTURES = Path(__file__).resolve().parents[2] / "data" / "pictures"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in which ``-w tiny`` names a quick network of scale 2."""
    bicubic_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def restore(*arguments: object, status: int = 0) -> str:
    """Runs the command with the quick network into ``out``; returns what it says."""
    found, output = restore_to("out", *arguments)
    assert found == status, output
    return output


def transparency(image: np.ndarray) -> float:
    """How many wholly transparent pixels would let the same light through."""
    return float((1 - image[..., -1].astype(float) / np.iinfo(image.dtype).max).sum())


def restore_to(output: str, *arguments: object) -> tuple[int, str]:
    """Runs the command with the quick network; returns its exit status and what it says."""
    command = ["restore", *map(str, arguments), "-w", "tiny", "-o", output]
    result = CliRunner().invoke(main, command)
    return result.exit_code, result.output


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


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("o6_rgb.png", 3),
        ("o6_rgba.png", 4),
        ("o6_rgba.webp", 4),
        ("o6_la.png", 2),
        ("o6_paltrns.png", 4),
    ],
)
def test_pictures_are_turned_upright(name: str, channels: int) -> None:
    restore(PICTURES / name)
    restored = read_image(Path("out", name))
    assert restored.shape == (120, 80, channels)
    with Image.open(Path("out", name)) as picture:  # as any other program sees it
        assert picture.size == (80, 120)
        assert picture.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("name", "transparent", "kind"),
    [
        ("l_trns.png", 135, np.uint8),
        ("bilevel_trns.png", 1643, np.uint8),
        ("g16_trns.png", 9, np.uint16),
    ],
)
def test_a_transparent_gray_value_becomes_alpha(name: str, transparent: int, kind: type) -> None:
    before = read_image(PICTURES / name)
    assert (before[..., 1] == 0).sum() == transparent
    restore(PICTURES / name)
    restored = read_image(Path("out", name))
    assert restored.dtype == kind
    assert restored.shape == (80, 120, 2)
    assert transparency(restored) == pytest.approx(4 * transparent, rel=0.3)


def test_a_transparent_palette_entry_becomes_alpha() -> None:
    before = read_image(PICTURES / "graypal_trns.png")
    assert (before[..., 3] == 0).sum() == 134
    restore(PICTURES / "graypal_trns.png")
    assert transparency(read_image("out/graypal_trns.png")) == pytest.approx(4 * 134, rel=0.3)


def test_hidden_color_does_not_reach_what_is_seen() -> None:
    restore(PICTURES / "white_on_black.png")
    assert lay_on_white(read_image("out/white_on_black.png")).min() >= 250


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


def test_frames_that_a_format_cannot_hold_are_refused_by_name() -> None:
    for name, advice in (("pages.tif", "--format tif"), ("anim.png", "--format png")):
        output = restore(PICTURES / name, "--format", "jpg", status=1)
        assert f"{name}: jpg cannot hold its 3" in output
        assert advice in output
        assert not Path("out").exists()


def test_the_folder_of_the_results_is_no_source(workplace: Path) -> None:
    shutil.copy(PICTURES / "l_trns.png", workplace)
    assert "1 of 1 pictures" in restore(".", "--recursive")
    output = restore(".", "--recursive")
    assert "1 of 1 pictures" in output
    assert "left out: .: 1 folders of results: out" in output


def test_metadata_are_carried_over(workplace: Path) -> None:
    """P2: the values and their profile stay, EXIF and resolution too."""
    restore(PICTURES / "icc_in.png")
    with Image.open(PICTURES / "icc_in.png") as before, Image.open("out/icc_in.png") as after:
        assert after.info["icc_profile"] == before.info["icc_profile"]
        assert np.abs(np.asarray(after)[32, 32].astype(int) - (40, 200, 60)).max() <= 2
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0xA002: 30, 0xA003: 20, 0x9003: "2026:11:26 04:00:00"})
    photo = Image.fromarray(photograph(height=20, width=30)[..., ::-1])
    photo.save("photo.jpg", exif=exif, dpi=(300, 300))
    restore("photo.jpg")
    with Image.open("out/photo.jpg") as picture:
        assert picture.size == (40, 60)
        assert picture.info["dpi"] == (300, 300)
        found = picture.getexif()
        assert (found[0x010F], found[0x0112]) == ("Maker", 1)
        inner = found.get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == (40, 60)
        assert inner[0x9003] == "2026:11:26 04:00:00"


def test_limits_of_formats_are_known_before_the_work(workplace: Path) -> None:
    """P6"""
    shutil.copy(PICTURES / "wide.webp", workplace)
    Image.new("L", (33000, 4)).save("wide.jpg")
    Image.new("L", (10, 10)).save("small.png")
    output = restore("wide.webp", "wide.jpg", "small.png", status=1)
    assert "wide.webp: 16600×16 pixels are more than webp can hold" in output
    assert "wide.jpg: 66000×8 pixels are more than jpg can hold" in output
    assert output.count("--format png") >= 2
    assert "1 of 3 pictures restored" in output
    assert [each.name for each in Path("out").glob("[!.]*")] == ["small.png"]
    assert "1 of 1 pictures restored" in restore("wide.webp", "--format", "png")
    assert read_image("out/wide.png").shape == (16, 16600, 3)


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


def test_progress_is_counted_in_pixels(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P8: the bar stands at the share of the pixels that are done."""
    import tqdm

    seen: list[tuple[str, float]] = []

    class Watched(tqdm.tqdm):
        def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
            seen.append((str(desc), self.n / self.total))
            super().set_description(desc, refresh)

        def close(self) -> None:
            if not self.disable:
                seen.append(("end", self.n / self.total))
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Watched)
    for name, side in (("a", 10), ("b", 30), ("c", 300)):
        Image.new("L", (side, side)).save(f"{name}.png")
    Path("d.png").write_bytes(b"broken")
    restore("a.png", "b.png", "c.png", "d.png", "--tile", "256", "--overlap", "32", status=1)
    total = 10**2 + 30**2 + 4 * 256**2  # four tiles overlap
    assert [round(share * total) for _, share in seen] == [0, 100, 1000, total]
    assert seen[1][0] == "b.png (2/3)"


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


def test_a_device_that_is_not_here() -> None:
    """P11"""
    output = restore(PICTURES / "l_trns.png", "--device", "mps", status=2)
    assert "there is no MPS device here" in output


def test_auto_takes_the_first_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """P11: in the order cuda, xpu, mps, cpu."""
    from mambair.inference import device

    here = {"cuda", "xpu", "mps"}
    monkeypatch.setattr(device, "_is_available", here.__contains__)
    monkeypatch.setattr(device.torch, "empty", lambda *_, **__: None)
    for expected in ("cuda", "xpu", "mps", "cpu"):
        assert device.pick_device("auto").type == expected
        here.discard(expected)


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


@pytest.mark.parametrize("tile", ["256", "none", "authors"])
def test_the_smallest_pictures(tile: str, workplace: Path) -> None:
    sizes = [(1, 1), (1, 40), (40, 1), (1, 401)]
    for width, height in sizes:
        Image.new("RGB", (width, height), (10, 200, 30)).save(f"{width}x{height}.png")
    restore(*(f"{width}x{height}.png" for width, height in sizes), "--tile", tile)
    for width, height in sizes:
        assert read_image(f"out/{width}x{height}.png").shape == (2 * height, 2 * width, 3)


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
