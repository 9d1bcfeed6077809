"""Data sets from folders of pictures: the files written, and those that a killed run leaves."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr_mambair.prepare import PrepareError, make_crops, make_jpeg, make_lmdb, make_lr
from mambair.imaging.errors import PictureError
from mambair.imaging.resizing import imresize
from tests.basicsr_mambair.prepare.conftest import NAMES, invoke, names_in
from tests.conftest import ROOT, photograph


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_is_matlabs(scale: int, benchmark_pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "LR"
    outcome = make_lr(benchmark_pictures / "Set5" / "HR", scale, output)
    assert (outcome.made, outcome.kept, outcome.failures) == (5, 0, [])
    expected = benchmark_pictures / "Set5" / "LR_bicubic" / f"X{scale}"
    assert names_in(output) == names_in(expected)
    for name in names_in(expected):
        np.testing.assert_array_equal(
            cv2.imread(str(output / name), cv2.IMREAD_UNCHANGED),
            cv2.imread(str(expected / name), cv2.IMREAD_UNCHANGED),
        )


def test_lr_cuts_to_multiples_and_names_its_folder(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent.parent)
    outcome = make_lr(pictures, 3, hr_output="cut")
    assert outcome.output == Path("datasets/Photos/LR_bicubic/X3")
    cut = cv2.imread("cut/coffee.png")
    np.testing.assert_array_equal(cut, photograph("coffee", 97, 131)[:96, :129])
    small = cv2.imread(str(outcome.output / "coffeex3.png"))
    np.testing.assert_array_equal(small, imresize(cut, 1 / 3))


def test_lr_keeps_depth_and_gray(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    gray = photograph()[..., 0]
    cv2.imwrite(str(tmp_path / "in" / "gray.png"), gray)
    cv2.imwrite(str(tmp_path / "in" / "deep.png"), photograph().astype(np.uint16) * 257)
    make_lr(tmp_path / "in", 2, tmp_path / "out")
    small = cv2.imread(str(tmp_path / "out" / "grayx2.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(small, imresize(gray, 1 / 2))
    deep = cv2.imread(str(tmp_path / "out" / "deepx2.png"), cv2.IMREAD_UNCHANGED)
    assert deep.dtype == np.uint16


@pytest.mark.parametrize("gray", [True, False])
def test_jpeg(pictures: Path, tmp_path: Path, gray: bool) -> None:
    make_jpeg(pictures, 10, gray, tmp_path / "out")
    assert names_in(tmp_path / "out") == [f"{name}.jpg" for name in NAMES]
    flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    source = cv2.imread(str(pictures / "coffee.png"), flag)
    _, expected = cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, 10])
    assert (tmp_path / "out" / "coffee.jpg").read_bytes() == expected.tobytes()


def test_crops_cover_the_picture_and_pairs_keep_their_names(pictures: Path, tmp_path: Path) -> None:
    make_lr(pictures, 2, tmp_path / "LR", hr_output=tmp_path / "HR")
    make_crops(tmp_path / "HR", tmp_path / "HR_sub", size=48, step=32)
    make_crops(tmp_path / "LR", tmp_path / "LR_sub", size=24, step=16)
    hr, lr = names_in(tmp_path / "HR_sub"), names_in(tmp_path / "LR_sub")
    # 96 = 0, 32 and 48 at the border; 130 = 0, 32, 64 and 82 at the border
    assert len(hr) == 3 * 3 * 4
    assert [name.replace("x2", "") for name in lr] == hr
    first = cv2.imread(str(tmp_path / "HR_sub" / "coffee_s002.png"))
    np.testing.assert_array_equal(first, photograph("coffee", 97, 131)[:48, 32:80])
    last = cv2.imread(str(tmp_path / "HR_sub" / "coffee_s012.png"))
    np.testing.assert_array_equal(last, photograph("coffee", 97, 131)[48:96, 82:130])


def test_crops_threshold_and_small_pictures(pictures: Path, tmp_path: Path) -> None:
    make_crops(pictures, tmp_path / "few", size=48, step=32, threshold=20)
    assert len(names_in(tmp_path / "few")) == 3 * 2 * 3
    make_crops(pictures, tmp_path / "whole", size=500)
    assert cv2.imread(str(tmp_path / "whole" / "coffee_s001.png")).shape == (97, 131, 3)


def test_squares_follow_their_picture(pictures: Path, tmp_path: Path) -> None:
    """A picture becomes smaller, another one is removed; each had 12 squares."""
    folder = tmp_path / "out"
    command = ("prepare", "crops", pictures, "-o", folder, "--size", 48, "--step", 32)
    assert invoke(*command)[0] == 0
    assert len(names_in(folder)) == 3 * 12
    cv2.imwrite(str(pictures / "coffee.png"), np.full((60, 60, 3), 7, np.uint8))
    later = time.time() + 5
    os.utime(pictures / "coffee.png", (later, later))
    (pictures / "chelsea.png").unlink()
    status, output = invoke(*command)
    assert status == 0, output
    squares = sorted(folder.glob("coffee_s*.png"))
    assert [path.stem for path in squares] == [f"coffee_s00{index}" for index in (1, 2, 3, 4)]
    assert all((cv2.imread(str(path)) == 7).all() for path in squares)
    assert "12 pictures are made of none that was read now" in output
    assert "remove them: chelsea_s001.png, chelsea_s002.png" in output
    for path in folder.glob("chelsea*"):
        path.unlink()
    assert "read now" not in invoke(*command)[1]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("lr", "--scale", 2, "-o", "mine"), "coffeex2.png"),
        (("lr", "--scale", 2, "-o", "LR", "--hr-output", "mine"), "coffee.png"),
        (("jpeg", "-q", 50, "-o", "mine"), "coffee.jpg"),
        (("crops", "--size", 48, "-o", "mine"), "coffee_s002.png"),
        (("crops", "--size", 500, "-o", "mine"), "coffee_s002.png"),
    ],
    ids=["lr", "hr-output", "jpeg", "crops", "beyond the last square"],
)
def test_pictures_of_somebody_are_not_replaced(
    arguments: tuple[object, ...],
    name: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine", name).write_bytes(b"mine")
    command, *options = arguments
    status, output = invoke("prepare", command, pictures, *options)
    assert status == 1
    assert f"mine/{name}: is there, and was not made by this command" in output
    assert os.listdir("mine") == [name]
    assert not Path("LR").exists()
    assert Path("mine", name).read_bytes() == b"mine"


def test_lmdb_is_read_by_both_datasets(pictures: Path, tmp_path: Path) -> None:
    from basicsr.data.paired_image_dataset import PairedImageDataset

    from basicsr_mambair.data import MambaIRPairedDataset

    make_lr(pictures, 2, tmp_path / "LR", hr_output=tmp_path / "HR")
    for name in ("HR", "LR"):
        outcome = make_lmdb(tmp_path / name, tmp_path / f"{name}.lmdb")
        assert (outcome.made, outcome.failures) == (3, [])
    meta = (tmp_path / "LR.lmdb" / "meta_info.txt").read_text().splitlines()
    assert meta[0] == "astronautx2.png (48,65,3) 1"
    section = {
        "phase": "val", "scale": 2, "io_backend": {"type": "lmdb"}, "filename_tmpl": "{}x2",
        "dataroot_gt": str(tmp_path / "HR.lmdb"), "dataroot_lq": str(tmp_path / "LR.lmdb"),
    }  # fmt: skip
    sample = MambaIRPairedDataset(section)[2]
    expected = photograph("coffee", 97, 131)[:96, :130, ::-1].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(sample["gt"].numpy(), expected, atol=1e-6)
    # BasicSR's own needs the same keys on both sides; LMDB opens a folder once per process.
    roots = {key: str(tmp_path / f"{key}.lmdb") for key in ("dataroot_gt", "dataroot_lq")}
    for copy in roots.values():
        shutil.copytree(tmp_path / "HR.lmdb", copy)
    stock = PairedImageDataset({**section, **roots, "scale": 1})
    np.testing.assert_allclose(stock[2]["gt"].numpy(), expected, atol=1e-6)


def test_what_is_there_is_kept_and_what_changed_is_made_again(
    pictures: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    make_lr(pictures, 2, output)
    outcome = make_lr(pictures, 2, output)
    assert (outcome.made, outcome.kept) == (0, 3)
    cv2.imwrite(str(pictures / "coffee.png"), photograph() // 2)
    later = time.time() + 5
    os.utime(pictures / "coffee.png", (later, later))
    outcome = make_lr(pictures, 2, output)
    assert (outcome.made, outcome.kept) == (1, 2)


def test_an_older_picture_that_came_instead_is_made_again(pictures: Path, tmp_path: Path) -> None:
    for made in (
        lambda: make_lr(pictures, 2, tmp_path / "out"),
        lambda: make_lmdb(pictures, tmp_path / "out.lmdb"),
    ):
        made()
        cv2.imwrite(str(pictures / "coffee.png"), photograph("chelsea", 97, 131))
        os.utime(pictures / "coffee.png", (1e9, 1e9))  # as cp -p would leave it
        outcome = made()
        assert (outcome.made, outcome.kept) == (1, 2)
        cv2.imwrite(str(pictures / "coffee.png"), photograph("coffee", 97, 131))


@pytest.mark.parametrize("command", [["lr", "--scale", 2], ["jpeg", "-q", 10], ["crops"], ["lmdb"]])
def test_another_source_is_not_mixed_in(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pictures, "other")
    kind, *options = command
    assert invoke("prepare", kind, pictures, *options, "-o", "out.lmdb")[0] == 0
    before = {path.name: path.read_bytes() for path in Path("out.lmdb").iterdir()}
    code, output = invoke("prepare", kind, "other", *options, "-o", "out.lmdb")
    assert code == 1
    assert "holds results of another source or settings" in output
    assert {path.name: path.read_bytes() for path in Path("out.lmdb").iterdir()} == before


def test_a_database_of_another_program_is_kept(pictures: Path, tmp_path: Path) -> None:
    import lmdb

    folder = tmp_path / "precious.lmdb"
    with lmdb.open(str(folder)) as database, database.begin(write=True) as transaction:
        transaction.put(b"precious", b"1")
    with pytest.raises(PrepareError, match="a database of another program"):
        make_lmdb(pictures, folder)
    database = lmdb.open(str(folder), readonly=True, lock=False)
    with database, database.begin() as transaction:
        assert transaction.get(b"precious") == b"1"


def test_entries_of_the_lmdb_follow_the_source(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x.lmdb"
    make_lmdb(pictures, folder)
    (pictures / "coffee.png").rename(pictures / "tea (1).png")
    outcome = make_lmdb(pictures, folder)
    assert (outcome.made, outcome.kept) == (1, 2)
    meta = (folder / "meta_info.txt").read_text().splitlines()
    assert [line.rsplit(" (", 1)[0] for line in meta] == [
        "astronaut.png",
        "chelsea.png",
        "tea (1).png",
    ]
    from basicsr_mambair.data import MambaIRPairedDataset

    section = {"phase": "val", "scale": 1, "io_backend": {"type": "lmdb"},
               "dataroot_gt": str(folder), "task": "denoising_color", "noise": 5}  # fmt: skip
    assert MambaIRPairedDataset(section)[2]["gt"].shape == (3, 97, 131)


def test_two_runs_do_not_share_a_folder(pictures: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    make_lr(pictures, 2, tmp_path / "out")
    with (
        FileLock(tmp_path / "out" / ".prepare.lock"),
        pytest.raises(PrepareError, match="another run"),
    ):
        make_lr(pictures, 2, tmp_path / "out")
    assert make_lr(pictures, 2, tmp_path / "out").kept == 3


def test_a_refusal_leaves_nothing_behind(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="two kinds of results"):
        make_lr(pictures, 2, tmp_path / "out", hr_output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for make in (lambda: make_lr(pictures, 2, pictures), lambda: make_crops(pictures, pictures)):
        with pytest.raises(PrepareError, match="is the source"):
            make()
    assert names_in(pictures) == [f"{name}.png" for name in NAMES]


def test_other_settings_are_not_mixed_in(pictures: Path, tmp_path: Path) -> None:
    make_jpeg(pictures, 10, True, tmp_path / "out")
    before = (tmp_path / "out" / "coffee.jpg").read_bytes()
    with pytest.raises(PrepareError, match="another source or settings .quality: 10"):
        make_jpeg(pictures, 40, True, tmp_path / "out")
    assert (tmp_path / "out" / "coffee.jpg").read_bytes() == before


def test_a_damaged_picture_is_named_and_the_others_are_done(pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.png").write_bytes((pictures / "coffee.png").read_bytes()[:500])
    for command in (
        ["lr", pictures, "--scale", 2, "-o", tmp_path / "lr"],
        ["jpeg", pictures, "-q", 10, "-o", tmp_path / "jpeg"],
        ["crops", pictures, "-o", tmp_path / "crops"],
        ["lmdb", pictures, "-o", tmp_path / "x.lmdb"],
    ):
        code, output = invoke("prepare", *command)
        assert code == 1
        assert "broken.png: not a readable picture" in output
        assert "3 pictures done" in output
    assert not (tmp_path / "x.lmdb" / "meta_info.txt").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["lr", "gone", "--scale", 2], "gone: there is no such file or folder"),
        (["lr", "HR", "--scale", 1], "scale: must be an integer of at least 2"),
        (["lr", "HR", "--scale", 2, "--hr-output", "HR"], "is the source"),
        (["jpeg", "HR", "-q", 0], "quality: must be between 1 and 100"),
        (["jpeg", "HR", "-q", 10, "-q", 20, "-o", "out"], "single --quality"),
        (["crops", "HR", "-o", "out", "--step", 0], "size and step must be at least 1"),
        (["lmdb", "HR", "-o", "out"], "must end in .lmdb"),
        (["lmdb", "same", "-o", "out.lmdb"], "would have the same key"),
        (["jpeg", "same", "-q", 10], "would both become"),
        (["lr", "HR", "--scale", 2, "-o", "HR/coffee.png"], "is a file"),
    ],
)
def test_what_cannot_be_done_is_reported_first(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, command: list, message: str
) -> None:
    monkeypatch.chdir(pictures.parent)
    Path("same").mkdir()
    for suffix in (".png", ".bmp"):
        cv2.imwrite(f"same/a{suffix}", photograph())
    code, output = invoke("prepare", *command)
    assert code != 0
    assert message in output
    assert not Path("out").exists() and not Path("datasets").exists()


_KILLED = """
import sys, time
import cv2
from basicsr_mambair.cli import main
original = cv2.imencode
def slowly(*arguments):
    time.sleep(0.2)
    return original(*arguments)
cv2.imencode = slowly
import basicsr_mambair.prepare.store as store
store._BATCH = 1
main(sys.argv[1:])
"""


@pytest.mark.parametrize("kind", ["lr", "crops", "lmdb"])
def test_a_killed_run_continues_and_ends_with_the_same_files(
    kind: str, pictures: Path, tmp_path: Path
) -> None:
    import lmdb

    for index in range(9):
        cv2.imwrite(str(pictures / f"more{index}.png"), photograph("coffee", 60 + index, 80))
    options = {"lr": ["--scale", 2], "crops": ["--size", 48, "--step", 32], "lmdb": []}[kind]

    def arguments(output: Path) -> list[str]:
        return [str(each) for each in ("prepare", kind, pictures, "-o", output, *options)]

    def contents(output: Path) -> dict:
        if kind != "lmdb":
            files = (path for path in output.iterdir())  # hidden ones too: nothing is left over
            return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        database = lmdb.open(str(output), readonly=True, lock=False)
        with database, database.begin() as transaction:
            entries = {bytes(key): bytes(value) for key, value in transaction.cursor()}
        return {**entries, "meta": (output / "meta_info.txt").read_text()}

    whole, killed = tmp_path / "whole.lmdb", tmp_path / "killed.lmdb"
    assert invoke(*arguments(whole))[0] == 0
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, *arguments(killed), "-j", "1"], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if kind == "lmdb":

        def started() -> bool:
            data = killed / "data.mdb"
            return data.exists() and data.stat().st_size > 60_000
    else:

        def started() -> bool:
            return killed.exists() and len(names_in(killed)) >= (15 if kind == "crops" else 3)

    deadline = time.time() + 120
    while not started() and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    for name in names_in(killed):
        if name.endswith(".png"):
            assert cv2.imread(str(killed / name)) is not None  # never a truncated one
    code, output = invoke(*arguments(killed))
    assert code == 0
    assert "existed already" in output
    assert contents(killed) == contents(whole)


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no picture in this folder"):
        make_lr(tmp_path, 2)
