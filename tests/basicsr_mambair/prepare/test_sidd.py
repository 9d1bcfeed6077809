"""SIDD: photographs to training squares, blocks to pictures, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.basicsr_mambair.prepare.conftest import invoke, names_in
from tests.conftest import photograph
from tests.matlab_files import sidd_pair, write_arrays


def scenes(folder: Path) -> Path:
    """Two scenes with a pair each, in SIDD's tree and under its names."""
    for number, (name, height, width) in enumerate(
        [("coffee", 70, 100), ("chelsea", 40, 60)], start=1
    ):
        scene = folder / "Data" / f"{number:04d}_001_S6_00100_00060_3200_L"
        scene.mkdir(parents=True)
        true = photograph(name, height, width)
        for kind, picture in (("GT", true), ("NOISY", true // 2)):
            cv2.imwrite(str(scene / f"{number:04d}_{kind}_SRGB_010.PNG"), picture)
    (folder / "ReadMe_sRGB.txt").write_text("about")
    return folder


def test_squares_of_pairs_have_the_same_names(tmp_path: Path) -> None:
    source, output = scenes(tmp_path / "SIDD_Medium_Srgb"), tmp_path / "SIDD"
    command = ("prepare", "sidd", source, "-o", output, "--size", 32, "--step", 24)
    status, text = invoke(*command)
    assert status == 0, text
    assert "1 files that are no pictures: ReadMe_sRGB.txt" in text
    true, noisy = output / "train" / "target_crops", output / "train" / "input_crops"
    # 70 rows: 0, 24 and, at the border, 38; 100 columns: 0, 24, 48 and 68. 40 × 60: 2 × 3.
    expected = [f"0001_SRGB_010_s{i:03d}.png" for i in range(1, 13)]
    expected += [f"0002_SRGB_010_s{i:03d}.png" for i in range(1, 7)]
    assert names_in(true) == names_in(noisy) == expected
    for name in expected:
        np.testing.assert_array_equal(
            cv2.imread(str(true / name)) // 2, cv2.imread(str(noisy / name))
        )
    picture = photograph("coffee", 70, 100)
    np.testing.assert_array_equal(cv2.imread(str(true / expected[11])), picture[38:, 68:])
    # Again: nothing is left to do; another size is refused.
    assert "0 pictures done, 4 existed already" in invoke(*command)[1]
    status, text = invoke(*command[:-4], "--size", 16)
    assert status == 1
    assert "holds results of another source or settings" in text


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    source, output = scenes(tmp_path / "source"), tmp_path / "out"
    first, second = sorted((source / "Data").iterdir())
    cv2.imwrite(str(first / "0001_NOISY_SRGB_010.PNG"), photograph("coffee", 64, 100))
    cv2.imwrite(str(second / "0002_GT_SRGB_011.PNG"), photograph("coffee", 64, 100))
    cv2.imwrite(str(second / "extra.png"), photograph("coffee", 64, 100))
    status, text = invoke("prepare", "sidd", source, "-o", output)
    assert status == 1
    assert "0001_NOISY_SRGB_010.PNG: 64×100 pixels do not match the 70×100 of" in text
    assert "0002_GT_SRGB_011.PNG: has no partner 0002_NOISY_SRGB_011.PNG" in text
    assert "1 pictures that are not SIDD's: extra.png" in text
    assert len(names_in(output / "train" / "input_crops")) == 1

    (tmp_path / "empty").mkdir()
    status, text = invoke("prepare", "sidd", tmp_path / "empty", "-o", tmp_path / "new")
    assert status == 1
    assert "no pair of pictures whose names hold _GT_SRGB and _NOISY_SRGB" in text
    assert "nothing to do" in invoke("prepare", "sidd")[1]


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_blocks_become_pictures(version: str, tmp_path: Path) -> None:
    noisy, true = sidd_pair(tmp_path / "SIDD", version)
    command = ("prepare", "sidd", "--blocks", tmp_path / "SIDD", "-o", tmp_path / "SIDD")
    status, text = invoke(*command)
    assert status == 0, text
    assert "12 pictures done" in text
    val = tmp_path / "SIDD" / "val"
    for folder, blocks in (("input_crops", noisy), ("target_crops", true)):
        assert len(names_in(val / folder)) == 6
        written = cv2.imread(str(val / folder / "0002_03.png"))
        np.testing.assert_array_equal(written[..., ::-1], blocks[1, 2])
    assert "0 pictures done, 12 existed already" in invoke(*command)[1]


def test_blocks_that_do_not_match(tmp_path: Path) -> None:
    sidd_pair(tmp_path, "5")
    name = "ValidationGtBlocksSrgb"
    fewer = np.zeros((2, 2, 16, 24, 3), np.uint8)
    write_arrays(tmp_path / f"{name}.mat", "5", **{name: fewer})
    status, text = invoke("prepare", "sidd", "--blocks", tmp_path, "-o", tmp_path / "out")
    assert status == 1
    assert f"{name}: has the shape (2, 2, 16, 24, 3), but the blocks of" in text
    assert not (tmp_path / "out").exists()


def test_the_check_reads_matlab_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.conftest import ROOT

    monkeypatch.chdir(tmp_path)
    sidd_pair(tmp_path / "datasets" / "SIDD", "7.3")
    weights = tmp_path / "experiments" / "pretrained_models" / "RealDN_MambaIR.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    file = ROOT / "options" / "test" / "mambair_real_denoising_sidd.yml"
    status, text = invoke("prepare", "check", "-opt", file)
    assert status == 0, text
    assert "6 pictures, 6 usable" in text
