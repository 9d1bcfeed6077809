"""DND: 50 photographs of which 20 boxes each are restored and sent in; there is no truth.

DND is the Darmstadt Noise Dataset, "Benchmarking Denoising Algorithms with Real Photographs" (Plötz
and Roth, CVPR 2017).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mambair.imaging.errors import PictureError
from mambair.imaging.matlab.mat_file import MatArray, read_field
from mambair.imaging.matlab.submission import write_mat
from mambair.imaging.pixels import Pixels, swap_order

_INFO = "info.mat"
_PICTURE = "InoisySRGB"
_VERSION = "1.0"  # of the format, which the server asks for


class Box(NamedTuple):
    """A box of a photograph; numbers are counted from 0, and the end is not in it."""

    picture: int
    number: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def name(self) -> str:
        """``0001_01``: photograph and box, counted from 1."""
        return f"{self.picture + 1:04d}_{self.number + 1:02d}"


class DndPictures:
    """The boxes of the sRGB photographs.

    Args:
        folder: holds ``info.mat``, whose struct ``info`` has the field ``boundingboxes`` (for every
            photograph ``(boxes, 4)``: first row, first column, last row, last column, counted from
            1), and ``images_srgb/0001.mat``, … with ``InoisySRGB``, ``(H, W, 3)`` in [0, 1].

    Attributes:
        boxes: in order.

    Raises:
        PictureError: a file is missing or holds something else; names file and variable.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        info = self.folder / _INFO
        self.boxes: list[Box] = []
        for number, corners in enumerate(read_field(info, "info", "boundingboxes")):
            array = MatArray(self.path(number), _PICTURE)
            if len(array.shape) != 3 or array.shape[2] != 3:
                raise PictureError(
                    f"{array.path}: {_PICTURE}: has the shape {array.shape}, not (height, width, 3)"
                )
            self.boxes += _boxes(number, corners, array.shape, info)
        if not self.boxes:
            raise PictureError(f"{info}: info: there are no bounding boxes")
        # One at a time: all photographs would be gigabytes.
        self._open = (self.boxes[0].picture, MatArray(self.path(self.boxes[0].picture), _PICTURE))

    def path(self, picture: int) -> Path:
        """Returns the file of a photograph."""
        return self.folder / "images_srgb" / f"{picture + 1:04d}.mat"

    def __len__(self) -> int:
        return len(self.boxes)

    def read(self, index: int) -> Pixels:
        """Returns the pixels in a box, float32 ``(H, W, 3)`` BGR in [0, 1].

        Raises:
            PictureError: the photograph is damaged.
        """
        box = self.boxes[index]
        if self._open[0] != box.picture:
            self._open = (box.picture, MatArray(self.path(box.picture), _PICTURE))
        crop = self._open[1][slice(box.top, box.bottom), slice(box.left, box.right)]
        return np.ascontiguousarray(swap_order(crop), np.float32)


def _boxes(number: int, corners: NDArray[Any], shape: tuple[int, ...], info: Path) -> list[Box]:
    place = f"{info}: info: boundingboxes of photograph {number + 1}"
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise PictureError(f"{place}: have the shape {corners.shape}, not (boxes, 4)")
    height, width = shape[:2]
    boxes = []
    for count, (top, left, bottom, right) in enumerate(corners.astype(int).tolist()):
        if not (1 <= top <= bottom <= height and 1 <= left <= right <= width):
            raise PictureError(
                f"{place}: rows {top} to {bottom} and columns {left} to {right} are not inside its "
                f"{height}×{width} pixels"
            )
        boxes.append(Box(number, count, top - 1, left - 1, bottom, right))
    return boxes


class DndSubmission:
    """``0001_01.mat``, … for every box, and ``bundled/0001.mat``, … for every photograph.

    The file of a box has ``Idenoised_crop``, single ``(H, W, 3)`` RGB. A bundle has ``Idenoised``,
    a cell row of them, ``israw``, false, and ``eval_version``. The folder of the bundles has its
    name when all are in it, and is ``bundled.part`` before.

    Args:
        folder: where the files are written.
        boxes: the boxes that are restored.
    """

    def __init__(self, folder: Path, boxes: list[Box]) -> None:
        self.folder = folder
        self._boxes = boxes
        self._waiting: dict[int, dict[int, NDArray[np.float32]]] = {}
        self._counts: dict[int, int] = {}
        for box in boxes:
            self._counts[box.picture] = self._counts.get(box.picture, 0) + 1

    def add(self, index: int, picture: NDArray[np.float32]) -> None:
        """Writes a result, and the bundle that it completes."""
        box = self._boxes[index]
        write_mat(self.folder / f"{box.name}.mat", {"Idenoised_crop": picture})
        crops = self._waiting.setdefault(box.picture, {})
        crops[box.number] = picture
        if len(crops) == self._counts[box.picture]:
            cell = np.empty(len(crops), object)
            for number in range(len(crops)):
                cell[number] = crops[number]
            bundle = {"Idenoised": cell, "israw": False, "eval_version": _VERSION}
            write_mat(self._unfinished / f"{box.picture + 1:04d}.mat", bundle)
            # Only one photograph is kept: all of them would be 3 GB.
            del self._waiting[box.picture], self._counts[box.picture]

    def close(self) -> Path:
        """Returns the folder of the bundles, which is complete."""
        if self._counts:
            missing = ", ".join(f"{each + 1:04d}" for each in self._counts)
            raise PictureError(
                f"{self.folder}: results of these photographs are missing: {missing}"
            )
        bundled = self.folder / "bundled"
        if bundled.exists():
            shutil.rmtree(bundled)
        return self._unfinished.rename(bundled)

    @property
    def _unfinished(self) -> Path:
        return self.folder / "bundled.part"
