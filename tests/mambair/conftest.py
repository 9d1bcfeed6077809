"""Fixtures of the kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mambair.ops import native


@pytest.fixture(params=range(len(native.INSTRUCTION_SETS)), ids=native.INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[None]:
    """The C++ kernels of one instruction set after the other."""
    library = native.library()
    if library is None:
        pytest.skip("the C++ kernels are not built")
    best = library.mambair_instruction_set()
    if library.mambair_use_instruction_set(request.param) != request.param:
        pytest.skip("this processor lacks it")
    yield
    library.mambair_use_instruction_set(best)
