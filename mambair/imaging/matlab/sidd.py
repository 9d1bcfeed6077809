"""SIDD's blocks: 40 × 32 squares of 256 × 256 pixels in one array of a MATLAB file.

SIDD is "A High-Quality Denoising Dataset for Smartphone Cameras" (Abdelhamed et al., CVPR 2018).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mambair.imaging.errors import PictureError
from mambair.imaging.matlab.mat_file import MatArray
from mambair.imaging.matlab.submission import write_mat
from mambair.imaging.pixels import Pixels, swap_order


class SiddBlocks:
    """The blocks of ``ValidationNoisyBlocksSrgb.mat`` and its like.

    Args:
        path: the file. Its variable has the name of the file and the shape
            ``(scenes, blocks, H, W, 3)``: uint8, RGB.

    Attributes:
        shape: that shape.
        names: ``0001_01``, … for every block: scene and block, counted from 1.

    Raises:
        PictureError: the file cannot be read, or holds something else; names file and variable.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._array = MatArray(self.path, self.path.stem)
        self.shape = self._array.shape
        if len(self.shape) != 5 or self.shape[-1] != 3 or 0 in self.shape:
            raise self._wrong(f"has the shape {self.shape}")
        scenes, blocks = self.shape[:2]
        self._places = [(i, j) for i in range(scenes) for j in range(blocks)]
        self.names = [f"{i + 1:04d}_{j + 1:02d}" for i, j in self._places]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Pixels:
        """Returns a block, uint8 ``(H, W, 3)`` BGR.

        Raises:
            PictureError: the array is damaged, or does not hold uint8.
        """
        block = self._array[self._places[index]]
        if block.dtype != np.uint8:
            raise self._wrong(f"holds {block.dtype}")
        return np.ascontiguousarray(swap_order(block))

    def _wrong(self, found: str) -> PictureError:
        return PictureError(
            f"{self.path}: {self.path.stem}: {found}; blocks of SIDD are uint8 of the shape "
            "(scenes, blocks, height, width, 3)"
        )


def check_blocks_match(true: SiddBlocks, noisy: SiddBlocks) -> None:
    """Raises :class:`PictureError` if two files do not hold the same blocks, as shapes tell."""
    if true.shape != noisy.shape:
        raise PictureError(
            f"{true.path}: {true.path.stem}: has the shape {true.shape}, but the blocks of "
            f"{noisy.path} have {noisy.shape}"
        )


class SiddSubmission:
    """``Idenoised.mat``: the variable ``Idenoised``, single, in the shape of the blocks.

    Args:
        folder: where the file is written.
        blocks: the blocks that are restored.
    """

    def __init__(self, folder: Path, blocks: SiddBlocks) -> None:
        self.path = folder / "Idenoised.mat"
        self._results = np.zeros(blocks.shape, np.float32)
        self._missing = set(range(len(blocks)))

    def add(self, index: int, picture: NDArray[np.float32]) -> None:
        """Takes a result; see :class:`~mambair.imaging.matlab.submission.Submission`."""
        self._results.reshape(-1, *self._results.shape[2:])[index] = picture
        self._missing.discard(index)

    def close(self) -> Path:
        """Writes the file and returns its path."""
        if self._missing:
            count = self._results.shape[0] * self._results.shape[1]
            raise PictureError(
                f"{self.path}: is not written: {len(self._missing)} of {count} blocks are missing"
            )
        write_mat(self.path, {"Idenoised": self._results})
        return self.path
