"""MATLAB's files of both versions: SIDD's blocks, DND's boxes, what their benchmarks are sent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from mambair.imaging.errors import PictureError
from mambair.imaging.matlab.dnd import DndPictures, DndSubmission
from mambair.imaging.matlab.mat_file import MatArray, read_field
from mambair.imaging.matlab.sidd import SiddBlocks, SiddSubmission
from tests.matlab_files import VERSIONS, dnd, sidd_pair, write_arrays, write_info

versions = pytest.mark.parametrize("version", VERSIONS)


@versions
def test_parts_of_an_array(version: str, tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    path = write_arrays(tmp_path / "a.mat", version, values=values, other=np.zeros(3))
    array = MatArray(path, "values")
    assert array.shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(array[()], values)
    np.testing.assert_array_equal(array[1, 2], values[1, 2])
    np.testing.assert_array_equal(array[1, slice(1, 3), slice(0, 2)], values[1, 1:3, :2])
    assert array[1, 2].dtype == np.uint16


@versions
def test_blocks_of_sidd(version: str, tmp_path: Path) -> None:
    noisy, _ = sidd_pair(tmp_path, version)
    blocks = SiddBlocks(tmp_path / "ValidationNoisyBlocksSrgb.mat")
    assert blocks.names == ["0001_01", "0001_02", "0001_03", "0002_01", "0002_02", "0002_03"]
    np.testing.assert_array_equal(blocks.read(4), noisy[1, 1][..., ::-1])


@versions
def test_boxes_of_dnd(version: str, tmp_path: Path) -> None:
    photographs, _ = dnd(tmp_path, version)
    pictures = DndPictures(tmp_path)
    assert [box.name for box in pictures.boxes] == [
        "0001_01", "0001_02", "0002_01", "0002_02", "0002_03"
    ]  # fmt: skip
    # Rows 25 to 40 and columns 19 to 30, counted from 1, both ends included.
    np.testing.assert_array_equal(pictures.read(1), photographs[0][24:40, 18:30, ::-1])
    np.testing.assert_array_equal(pictures.read(4), photographs[1][2:18, 4:16, ::-1])
    np.testing.assert_array_equal(pictures.read(0), photographs[0][:16, :12, ::-1])


@versions
def test_a_struct_array_is_read_as_a_struct_of_cells(version: str, tmp_path: Path) -> None:
    boxes = [np.ones((2, 4)), np.full((1, 4), 7.0)]
    path = write_info(tmp_path / "info.mat", version, boxes)
    if version == "5":
        struct = np.array([(boxes[0],), (boxes[1],)], [("boundingboxes", object)])
        scipy.io.savemat(path, {"info": struct})
    found = read_field(path, "info", "boundingboxes")
    assert [each.tolist() for each in found] == [each.tolist() for each in boxes]


def test_what_sidd_is_sent(tmp_path: Path) -> None:
    sidd_pair(tmp_path, "5")
    blocks = SiddBlocks(tmp_path / "ValidationNoisyBlocksSrgb.mat")
    results = np.random.default_rng(0).random((6, 16, 24, 3)).astype(np.float32)
    submission = SiddSubmission(tmp_path / "out", blocks)
    for index in range(5):
        submission.add(index, results[index])
    with pytest.raises(PictureError, match=r"Idenoised\.mat: is not written: 1 of 6 blocks"):
        submission.close()
    submission.add(5, results[5])
    written = scipy.io.loadmat(submission.close())["Idenoised"]
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, results.reshape(2, 3, 16, 24, 3))


def test_what_dnd_is_sent(tmp_path: Path) -> None:
    dnd(tmp_path, "5")
    pictures = DndPictures(tmp_path)
    results = [pictures.read(index) for index in range(5)]
    submission = DndSubmission(tmp_path / "out", pictures.boxes)
    for index in (0, 1, 4, 2):  # in whatever order
        submission.add(index, results[index])
    with pytest.raises(PictureError, match=r"out: results of these photographs are missing: 0002"):
        submission.close()
    assert not (tmp_path / "out" / "bundled").exists()
    submission.add(3, results[3])
    bundled = submission.close()
    assert bundled == tmp_path / "out" / "bundled"
    assert not (tmp_path / "out" / "bundled.part").exists()
    assert sorted(path.name for path in bundled.iterdir()) == ["0001.mat", "0002.mat"]
    bundle = scipy.io.loadmat(bundled / "0002.mat")
    assert bundle["Idenoised"].shape == (1, 3)
    for number, index in enumerate((2, 3, 4)):
        crop = bundle["Idenoised"][0, number]
        assert crop.dtype == np.float32
        np.testing.assert_array_equal(crop, results[index])
        box = scipy.io.loadmat(tmp_path / "out" / f"0002_{number + 1:02d}.mat")
        np.testing.assert_array_equal(box["Idenoised_crop"], results[index])
    assert bundle["israw"].item() == 0
    assert bundle["eval_version"].item() == "1.0"


@versions
def test_a_wrong_structure_is_named(version: str, tmp_path: Path) -> None:
    name = "ValidationGtBlocksSrgb"
    path = tmp_path / f"{name}.mat"

    def complaint(**arrays: np.ndarray) -> str:
        write_arrays(path, version, **arrays)
        with pytest.raises(PictureError) as error:
            SiddBlocks(path).read(0)
        return str(error.value).removeprefix(f"{path}: ")

    blocks = np.zeros((2, 2, 4, 4, 3), np.uint8)
    assert complaint(a=blocks, b=blocks) == f"has no variable {name}; it holds a, b"
    assert complaint(**{name: blocks[0]}).startswith(f"{name}: has the shape (2, 4, 4, 3); blocks")
    assert complaint(**{name: blocks.astype(float)}).startswith(f"{name}: holds float64; blocks")


@versions
def test_a_wrong_dnd_is_named(version: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"info\.mat: cannot be read: No such file"):
        DndPictures(tmp_path)
    _, boxes = dnd(tmp_path, version)
    write_arrays(tmp_path / "info.mat", version, info=np.zeros((3, 4)))
    with pytest.raises(PictureError, match=r"info\.mat: info: is not a struct with the field boun"):
        DndPictures(tmp_path)
    write_arrays(tmp_path / "info.mat", version, other=np.zeros((3, 4)))
    with pytest.raises(PictureError, match=r"info\.mat: has no variable info; it holds other"):
        DndPictures(tmp_path)
    write_info(tmp_path / "info.mat", version, [boxes[0] + [0, 0, 1, 0], boxes[1]])
    with pytest.raises(PictureError, match=r"photograph 1: rows 25 to 41 and columns 19 to 30 are"):
        DndPictures(tmp_path)
    write_info(tmp_path / "info.mat", version, [boxes[0], boxes[1][:, :3]])
    with pytest.raises(PictureError, match=r"photograph 2: have the shape \(3, 3\)"):
        DndPictures(tmp_path)
    write_info(tmp_path / "info.mat", version, boxes)
    write_arrays(tmp_path / "images_srgb" / "0002.mat", version, InoisySRGB=np.zeros((26, 50)))
    with pytest.raises(PictureError, match=r"0002\.mat: InoisySRGB: has the shape \(26, 50\)"):
        DndPictures(tmp_path)
    (tmp_path / "images_srgb" / "0002.mat").unlink()
    with pytest.raises(PictureError, match=r"0002\.mat: cannot be read: No such file"):
        DndPictures(tmp_path)


def test_structs_and_cells_are_not_arrays(tmp_path: Path) -> None:
    path = write_info(tmp_path / "info.mat", "5", [np.ones((1, 4))])
    with pytest.raises(PictureError, match=r"info: is a struct, not an array of numbers"):
        MatArray(path, "info")
    path = write_info(tmp_path / "info73.mat", "7.3", [np.ones((1, 4))])
    with pytest.raises(PictureError, match=r"info: is a struct, not an array of numbers"):
        MatArray(path, "info")
    with pytest.raises(PictureError, match=r"is a cell, not an array of numbers"):
        MatArray(path, "info/boundingboxes")


@versions
def test_damaged_files(version: str, tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.mat", version, a=np.random.default_rng(0).random((90, 90)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=r"a\.mat: .*not readable as a MATLAB file"):
        MatArray(path, "a")[()]
    path.write_text("not MATLAB's")
    with pytest.raises(PictureError, match=r"a\.mat: is not readable as a MATLAB file"):
        MatArray(path, "a")


def test_h5py_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_arrays(tmp_path / "a.mat", "7.3", a=np.zeros((2, 2)))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(PictureError, match=r"a\.mat: is a MATLAB file of version 7\.3; h5py reads "
                       r"those: pip install 'basicsr-mambair\[mat\]'"):  # fmt: skip
        MatArray(path, "a")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mat")
    with pytest.raises(PictureError, match=r"a\.mat: is not a file but a pipe"):
        MatArray(tmp_path / "a.mat", "a")
