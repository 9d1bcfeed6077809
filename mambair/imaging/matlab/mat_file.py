"""Arrays in MATLAB's files, of every version.

SciPy reads versions 4 to 7; 7.3 is HDF5, which h5py reads and SciPy does not. Both show arrays in
MATLAB's order of axes here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair.imaging.errors import PictureError
from mambair.imaging.reading import open_file

_HDF5 = b"\x89HDF\r\n\x1a\n"
_BLOCKS = (0, 512)  # bytes before HDF5's signature: none, or MATLAB's header
_INSTALL = "pip install 'basicsr-mambair[mat]'"
# SciPy's names of numeric classes; of these, "logical" is the odd one.
_NUMERIC = {
    "double",
    "single",
    "logical",
    *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
}


class MatArray:
    """A numeric array of a MATLAB file, read when it is needed.

    Of a 7.3 file only the asked part is read, every time. Of an older one the array is read as a
    whole, once.

    Args:
        path: the file.
        variable: name of the array.

    Attributes:
        shape: its sides, in MATLAB's order.

    Raises:
        PictureError: the file cannot be read, or holds no such array of numbers; names both.
    """

    def __init__(self, path: str | os.PathLike[str], variable: str) -> None:
        self.path, self.variable = Path(path), variable
        self._is_hdf5 = is_hdf5(path)
        self._array: NDArray[Any] | None = None
        self.shape = self._find_shape()

    def __getitem__(self, first: tuple[int | slice, ...]) -> NDArray[Any]:
        """Returns a part of the array.

        Args:
            first: indices and slices of the first axes; the others are whole.
        """
        if self._is_hdf5:
            with _reading(self.path, self.variable), _open_hdf5(self.path) as file:
                others = (slice(None),) * (len(self.shape) - len(first))
                # HDF5 has the axes in reverse.
                reverse = (*others, *first[::-1])
                return np.ascontiguousarray(file[self.variable][reverse].T)
        with _LOADING:
            if self._array is None:
                self._array = _load(self.path, self.variable)
        return np.ascontiguousarray(self._array[first])

    def _find_shape(self) -> tuple[int, ...]:
        if self._is_hdf5:
            return self._shape_in_hdf5()
        import scipy.io

        with _reading(self.path):
            found = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(self.path)}
        shape, kind = found.get(self.variable, (None, None))
        if shape is None:
            raise _missing(self.path, self.variable, found)
        if kind not in _NUMERIC:
            raise self._no_array(str(kind))
        return tuple(shape)

    def _shape_in_hdf5(self) -> tuple[int, ...]:
        with _reading(self.path), _open_hdf5(self.path) as file:
            if self.variable not in file:
                raise _missing(self.path, self.variable, file)
            dataset = file[self.variable]
            if not hasattr(dataset, "dtype"):
                raise self._no_array("struct")
            if dataset.dtype.kind not in "biuf":
                raise self._no_array("cell")
            return tuple(dataset.shape[::-1])

    def _no_array(self, kind: str) -> PictureError:
        return PictureError(f"{self.path}: {self.variable}: is a {kind}, not an array of numbers")


# Several threads of `prepare` share an array; reading it twice would take twice the memory.
_LOADING = threading.Lock()


def read_field(path: str | os.PathLike[str], variable: str, field: str) -> list[NDArray[Any]]:
    """Reads a field of a struct that holds one array for each element.

    Args:
        path: the file.
        variable: a struct array whose field is an array, or a struct whose field is a cell of them.
        field: name of the field.

    Returns:
        The arrays, in order.

    Raises:
        PictureError: the file cannot be read, or holds no such struct or field; names both.
    """
    wrong = PictureError(f"{path}: {variable}: is not a struct with the field {field}")
    if not is_hdf5(path):
        with _reading(path, variable):
            struct = _load(Path(path), variable)
        if struct.dtype.names is None or field not in struct.dtype.names:
            raise wrong
        items = list(struct[field].ravel())
        if len(items) == 1 and items[0].dtype == object:
            items = list(items[0].ravel())
        return [np.asarray(item) for item in items]
    with _reading(path, variable), _open_hdf5(path) as file:
        if variable not in file:
            raise _missing(path, variable, file)
        if hasattr(file[variable], "dtype") or field not in file[variable]:
            raise wrong
        values = file[variable][field]
        if values.dtype.kind != "O":  # one struct with one array
            return [np.asarray(values).T]
        return [np.asarray(file[reference]).T for reference in np.asarray(values).ravel()]


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file is HDF5, as MATLAB's version 7.3 is.

    Raises:
        PictureError: it cannot be opened.
    """
    with open_file(path) as file:
        head = file.read(_BLOCKS[-1] + len(_HDF5))
    return any(head[start:].startswith(_HDF5) for start in _BLOCKS)


def _load(path: Path, variable: str) -> NDArray[Any]:
    import scipy.io

    with _reading(path, variable):
        contents = scipy.io.loadmat(path, variable_names=[variable])
        if variable in contents:
            return np.asarray(contents[variable])
        raise _missing(path, variable, (name for name, *_ in scipy.io.whosmat(path)))


@contextmanager
def _open_hdf5(path: str | os.PathLike[str]) -> Iterator[Any]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise PictureError(
            f"{os.fspath(path)}: is a MATLAB file of version 7.3; h5py reads those: {_INSTALL}"
        ) from error
    with h5py.File(path, "r") as file:
        yield file


@contextmanager
def _reading(path: str | os.PathLike[str], variable: str | None = None) -> Iterator[None]:
    """Turns errors of both libraries, which raise all kinds on damaged files, into one."""
    place = f"{os.fspath(path)}: {variable}" if variable else os.fspath(path)
    try:
        yield
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"{place}: is not readable as a MATLAB file: {error}") from error


def _missing(path: str | os.PathLike[str], variable: str, present: Any) -> PictureError:
    names = ", ".join(sorted(name for name in present if not name.startswith("#"))) or "nothing"
    return PictureError(f"{os.fspath(path)}: has no variable {variable}; it holds {names}")
