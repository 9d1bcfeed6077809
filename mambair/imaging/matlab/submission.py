"""What a benchmark wants to be sent: the results of a whole data set, in MATLAB's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from mambair.atomic import write_atomically
from mambair.imaging.errors import PictureError


class Submission(Protocol):
    """Takes the results one by one, and writes them in the benchmark's format."""

    def add(self, index: int, picture: NDArray[np.float32]) -> None:
        """Takes a result.

        Args:
            index: number of the picture in the data set, from 0.
            picture: ``(H, W, 3)`` RGB in [0, 1], not rounded.
        """

    def close(self) -> Path:
        """Writes what is not written yet; returns the file or folder to send.

        Raises:
            PictureError: results are missing, or the file cannot be written.
        """


def write_mat(path: Path, contents: dict[str, Any]) -> None:
    """Writes variables as a MATLAB file of version 5; the file is its old self or complete.

    Raises:
        PictureError: it cannot be written.
    """
    import scipy.io

    def write(file: BinaryIO) -> None:
        # SciPy takes what has a method `write` by dir(), where a temporary file shows none.
        with open(file.fileno(), "wb", closefd=False) as plain:
            scipy.io.savemat(plain, contents)

    try:
        write_atomically(path, write)
    except OSError as error:
        raise PictureError(f"{path}: cannot be written: {error.strerror or error}") from error
