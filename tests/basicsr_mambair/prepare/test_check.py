"""`basicsr prepare check`: the data of an option file against the files that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml
from PIL import Image

from basicsr_mambair.prepare import make_lmdb, make_lr
from tests.basicsr_mambair.prepare.conftest import invoke
from tests.conftest import ROOT, photograph, tiny_network


def test_check(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pictures.parent.parent
    monkeypatch.chdir(root)
    option_file = root / "run.yml"
    text = (ROOT / "options" / "test" / "tiny_x2.yml").read_text()
    option_file.write_text(text.replace("../base", str(ROOT / "options" / "base")))
    code, output = invoke("prepare", "check", "-opt", option_file)
    assert code == 1
    assert "datasets/Set5/HR: there is no such file or folder" in output

    (root / "datasets" / "Set5").mkdir(parents=True)
    pictures.rename(root / "datasets" / "Set5" / "HR")
    invoke("prepare", "lr", "datasets/Set5/HR", "--scale", 2)
    code, output = invoke("prepare", "check", "-opt", option_file)
    assert code == 0, output
    assert "3 pictures, 3 usable" in output
    assert "note: datasets/Set5/HR: 3 pictures; the papers use 5" in output
    assert "pages or frames" not in output

    photo = Image.open(root / "datasets" / "Set5" / "HR" / "coffee.png")
    photo.save(root / "datasets" / "Set5" / "HR" / "coffee.png", save_all=True,
               append_images=[photo.rotate(180)])  # fmt: skip
    code, output = invoke("prepare", "check", "-opt", option_file)
    assert code == 0, output
    assert "note: 1 pictures have further pages or frames, which are not read: coffee.png" in output

    lr = root / "datasets" / "Set5" / "LR_bicubic" / "X2"
    (lr / "coffeex2.png").rename(lr / "teax2.png")
    cv2.imwrite(str(lr / "chelseax2.png"), photograph("chelsea", 20, 20))
    whole = (lr / "astronautx2.png").read_bytes()
    middle = len(whole) // 2
    (lr / "astronautx2.png").write_bytes(whole[:middle] + bytes(400) + whole[middle + 400 :])
    code, output = invoke("prepare", "check", "-opt", option_file)
    assert code == 1
    assert "coffee.png: has no partner" in output
    assert "20×20 pixels do not match the 97×131" in output
    assert "1 pictures have no GT partner, for example teax2.png" in output
    assert "3 pictures, 1 usable" in output
    code, output = invoke("prepare", "check", "-opt", option_file, "--decode")
    assert "astronautx2.png: not a readable picture" in output
    assert "3 pictures, 0 usable" in output


def test_check_sees_what_the_dataset_sees(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_lr(pictures, 2, "LR", hr_output="HR")
    make_lmdb("HR", "HR.lmdb")
    make_lmdb("LR", "LR.lmdb")
    Path("one.txt").write_text("coffee.png (96,130,3)\n")
    (tmp_path / "LR" / "astronautx2.png").unlink()
    pair = {"type": "MambaIRPairedDataset", "dataroot_gt": "HR", "dataroot_lq": "LR",
            "filename_tmpl": "{}x2"}  # fmt: skip
    lmdb = {
        **pair,
        "dataroot_gt": "HR.lmdb",
        "dataroot_lq": "LR.lmdb",
        "io_backend": {"type": "lmdb"},
    }
    sections = {
        "test_1": {**pair, "name": "listed", "meta_info_file": "one.txt"},
        "test_2": {**pair, "name": "stored", **lmdb},
        "test_3": {**pair, "name": "noisy", "task": "denoising_color", "noise": 5},
    }
    contents = {"name": "run", "model_type": "MambaIRv2Model", "scale": 2,
                "network_g": tiny_network(), "datasets": sections}  # fmt: skip
    Path("run.yml").write_text(yaml.safe_dump(contents))
    code, output = invoke("prepare", "check", "-opt", "run.yml")
    assert code == 0, output
    assert "1 pictures, 1 usable" in output
    assert output.count("3 pictures, 3 usable") == 2


def test_check_of_training_needs_room_for_a_crop(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures.parent.parent
    monkeypatch.chdir(root)
    (root / "datasets").mkdir()
    pictures.rename(root / "datasets" / "photos")
    text = (ROOT / "options" / "train" / "tiny_denoising.yml").read_text()
    text = text.replace("../base", str(ROOT / "options" / "base"))
    (root / "run.yml").write_text(text + "\nval: ~\n")
    code, output = invoke("prepare", "check", "-opt", root / "run.yml")
    assert "3 pictures, 3 usable" in output
    cv2.imwrite(str(root / "datasets" / "photos" / "small.png"), photograph("coffee", 40, 40))
    code, output = invoke("prepare", "check", "-opt", root / "run.yml")
    assert code == 1
    assert "small.png: is smaller than the training crop of 48 pixels" in output


WITHOUT_BASICSR = """
import sys
from basicsr_mambair.__main__ import run

sys.modules["basicsr"] = None  # neither found nor importable, as where it is not installed
sys.argv = ["basicsr", "prepare", "check", "-opt", sys.argv[1]]
run()
"""


def check_without_basicsr(option_file: str) -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_BASICSR, option_file],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in run.stdout, run.stdout
    return run.returncode, run.stdout


def test_check_works_without_basicsr(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_lr(pictures, 2, "LR", hr_output="HR")
    make_lmdb("HR", "HR.lmdb")
    pair = {"type": "PairedImageDataset", "dataroot_gt": "HR", "dataroot_lq": "LR",
            "filename_tmpl": "{}x2"}  # fmt: skip
    noisy = {**pair, "task": "denoising_color", "noise": 5, "dataroot_lq": "nowhere"}
    made = {"type": "DegradedImageDataset", "dataroot_gt": "HR"}
    contents = {"name": "run", "model_type": "MambaIRv2Model", "scale": 2,
                "network_g": tiny_network()}  # fmt: skip

    def check(**sections: object) -> tuple[int, str]:
        Path("run.yml").write_text(yaml.safe_dump({**contents, "datasets": sections}))
        return check_without_basicsr("run.yml")

    code, output = check(test_1={**pair, "name": "pairs"}, test_2=noisy, test_3=made)
    assert code == 0, output
    assert "test_1 (pairs)\n  3 pictures, 3 usable" in output
    assert output.count("3 pictures, 3 usable") == 3
    (tmp_path / "LR" / "coffeex2.png").unlink()
    code, output = check(
        test_1=pair,
        test_2={**noisy, "task": "denoising_colour"},
        test_3={"type": "DegradedImageDataset"},
        test_4={**pair, "dataroot_gt": "HR.lmdb", "io_backend": {"type": "lmdb"}},
        train={**made, "gt_size": 63},
    )
    assert code == 1
    for problem in (
        "coffee.png: has no partner",
        "task: there is no task 'denoising_colour'; did you mean 'denoising_color'?",
        "dataroot_gt: must be a folder or a list of folders",
        "HR.lmdb: data in an LMDB are read by BasicSR, which is not installed",
        "gt_size: must be a multiple of scale 2, got 63",
    ):
        assert problem in output
    code, output = check(test_1="HR")
    assert code == 1
    assert "run.yml: datasets.test_1: must be a section" in output
