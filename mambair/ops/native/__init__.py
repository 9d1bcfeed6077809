"""The C++ kernels for CPUs: finding the library, and calling it by ctypes.

``setup.py`` builds the library where there is a compiler; elsewhere the package runs on PyTorch's
operators. The library does not depend on torch: Python hands it pointers and strides, in structures
that both read from the same lists (``structures.py``).
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from mambair.ops.native.structures import (
    BLOCK_PARAMETERS,
    FFN_PARAMETERS,
    Arguments,
    AttentionArguments,
    BlockArguments,
    DenseArguments,
    RouteArguments,
    ScanArguments,
    layout_difference,
)

__all__ = [
    "AVAILABLE", "BLOCK_PARAMETERS", "CHUNK", "FFN_PARAMETERS", "INSTRUCTION_SETS", "LANES",
    "MAX_KERNEL", "MAX_STATES", "MAX_TILE_ROWS", "Arguments", "AttentionArguments",
    "BlockArguments", "DenseArguments", "RouteArguments", "ScanArguments", "address", "describe",
    "empty", "library", "missing_reason", "required_library", "run",
]  # fmt: skip

INSTRUCTION_SETS = ("baseline", "AVX2", "AVX-512")

logger = logging.getLogger("mambair")


@lru_cache
def library() -> ctypes.CDLL | None:
    """The library; ``None`` if there is none to use (:func:`missing_reason` says why)."""
    return _load()[0]


def missing_reason() -> str | None:
    """The reason why the library is missing; ``None`` if it is loaded."""
    return _load()[1]


@lru_cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    """The library, or why it cannot be used."""
    spec = importlib.util.find_spec("mambair.ops.native._kernels")
    if spec is None or spec.origin is None:
        return None, "its library was not built; install a C++ compiler and reinstall the package"
    loaded = ctypes.CDLL(spec.origin)
    difference = _difference(loaded)
    if difference is not None:
        reason = f"{spec.origin} was built from other sources ({difference}); reinstall the package"
        logger.warning("The C++ kernels are not used: %s.", reason)
        return None, reason
    for name in ("mambair_block_floats", "mambair_block_sums_floats"):
        function = getattr(loaded, name)
        function.argtypes = [ctypes.c_void_p]
        function.restype = ctypes.c_int64
    return loaded, None


def _difference(loaded: ctypes.CDLL) -> str | None:
    """How the structures of a library differ from those that Python passes to it."""
    try:
        layout = loaded.mambair_layout
    except AttributeError:
        return "it does not describe its structures"
    layout.restype = ctypes.c_char_p
    return layout_difference(layout().decode())


def required_library() -> ctypes.CDLL:
    """The library; ``RuntimeError`` if it was not built."""
    loaded = library()
    if loaded is None:
        raise RuntimeError(f"the C++ kernels are missing: {missing_reason()}")
    return loaded


def describe() -> str:
    """Instruction set and threads of the library, for ``basicsr doctor``."""
    loaded = library()
    if loaded is None:
        return str(missing_reason())
    threads = "torch's OpenMP threads" if _torch_parallel() else "threads of its own"
    return f"{INSTRUCTION_SETS[loaded.mambair_instruction_set()]}, {threads}"


def empty(*shape: int) -> Tensor:
    """A tensor as kernels write it, whatever PyTorch's defaults are."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def run(kernel: str, arguments: Arguments) -> None:
    """Runs a kernel on as many threads as torch uses; other Python threads continue meanwhile."""
    function = getattr(required_library(), kernel)
    if function.argtypes is None:
        function.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
        function.restype = None
    function(ctypes.addressof(arguments), torch.get_num_threads(), _torch_parallel())


@lru_cache
def _torch_parallel() -> int | None:
    """Address of ``GOMP_parallel`` in the OpenMP runtime that torch has loaded.

    Sharing torch's threads keeps two pools from competing for the cores: OpenMP's threads spin
    for a while after a parallel region, and would do so against ours.
    """
    if not hasattr(os, "RTLD_NOLOAD"):
        return None
    folder = Path(torch.__file__).parent
    for path in [*folder.glob("lib/libgomp*.so*"), *folder.parent.glob("torch.libs/libgomp*.so*")]:
        try:
            runtime = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            return ctypes.cast(runtime.GOMP_parallel, ctypes.c_void_p).value
        except (OSError, AttributeError):
            continue
    return None


def address(tensor: Tensor | None) -> int | None:
    """Pointer to the first element."""
    return None if tensor is None else tensor.data_ptr()


def _constant(name: str) -> int:
    """A number that the library was built with; 0 without a library."""
    loaded = library()
    return 0 if loaded is None else int(getattr(loaded, f"mambair_{name}")())


# Plain values for the code that compilers trace.
AVAILABLE = library() is not None
LANES, CHUNK, MAX_TILE_ROWS = map(_constant, ("lanes", "chunk", "max_tile_rows"))
MAX_KERNEL, MAX_STATES = _constant("max_kernel"), _constant("max_states")
