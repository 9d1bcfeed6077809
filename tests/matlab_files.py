"""Small MATLAB files of both versions, with the structure of SIDD's and DND's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import scipy.io

VERSIONS = ("5", "7.3")


def write_arrays(path: Path, version: str, **arrays: np.ndarray) -> Path:
    """Writes arrays; version 7.3 has them reversed, behind MATLAB's header of 512 bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "5":
        scipy.io.savemat(path, arrays, do_compression=True)
        return path
    with _hdf5(path) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array.T, compression="gzip")
    return path


def write_info(path: Path, version: str, boxes: list[np.ndarray]) -> Path:
    """Writes the struct ``info`` of DND: bounding boxes of every photograph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "5":
        cell = np.empty((len(boxes), 1), object)
        for number, each in enumerate(boxes):
            cell[number, 0] = each
        scipy.io.savemat(path, {"info": {"boundingboxes": cell}})
        return path
    with _hdf5(path) as file:
        references = np.empty((1, len(boxes)), h5py.ref_dtype)
        for number, each in enumerate(boxes):
            references[0, number] = file.create_dataset(f"#refs#/{number}", data=each.T).ref
        file.create_dataset("info/boundingboxes", data=references)
    return path


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    with h5py.File(path, "w", userblock_size=512) as file:
        yield file
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")


def sidd_pair(folder: Path, version: str, shape: tuple[int, ...] = (2, 3, 16, 24, 3)) -> np.ndarray:
    """Writes noisy and true blocks; returns them, ``(2, *shape)`` RGB."""
    rng = np.random.default_rng(5)
    truth = rng.integers(30, 220, shape).astype(np.uint8)
    noisy = np.clip(truth + rng.normal(0, 12, shape), 0, 255).astype(np.uint8)
    for kind, array in (("Noisy", noisy), ("Gt", truth)):
        name = f"Validation{kind}BlocksSrgb"
        write_arrays(folder / f"{name}.mat", version, **{name: array})
    return np.stack([noisy, truth])


def dnd(folder: Path, version: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Writes two photographs with two and three boxes; returns photographs and boxes."""
    rng = np.random.default_rng(6)
    photographs = [rng.random(shape).astype(np.float32) for shape in ((40, 30, 3), (26, 50, 3))]
    boxes = [
        np.array([[1, 1, 16, 12], [25, 19, 40, 30]], float),
        np.array([[1, 39, 16, 50], [11, 1, 26, 12], [3, 5, 18, 16]], float),
    ]
    write_info(folder / "info.mat", version, boxes)
    for number, each in enumerate(photographs, start=1):
        write_arrays(folder / "images_srgb" / f"{number:04d}.mat", version, InoisySRGB=each)
    return photographs, boxes
