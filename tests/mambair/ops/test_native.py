"""The library of C++ kernels."""

from __future__ import annotations

import ctypes

import pytest

from mambair.ops import native


@pytest.mark.parametrize("kernel", ["scan", "attention", "dense", "block", "route"])
def test_structures_are_those_of_the_library(kernel: str) -> None:
    library = native.library()
    if library is None:
        pytest.skip("the C++ kernels are not built")
    size = getattr(library, f"mambair_size_of_{kernel}_arguments")
    size.restype = ctypes.c_int64
    assert ctypes.sizeof(getattr(native, f"{kernel.capitalize()}Arguments")) == size()


def test_descriptions() -> None:
    if native.AVAILABLE:
        assert native.describe().split(",")[0] in native.INSTRUCTION_SETS
    else:
        assert "not built" in native.describe()
