"""The C++ kernels for CPUs: finding the library, and calling it by ctypes.

The library is built by ``setup.py`` from ``native.cpp`` where there is a compiler; without one the
package works without it. It knows nothing of torch: Python hands it pointers and strides.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from mambair.ops.native.arguments import (
    BLOCK_SIZES,
    AttentionArguments,
    BlockArguments,
    DenseArguments,
    RouteArguments,
    ScanArguments,
)

__all__ = [
    "AVAILABLE", "BLOCK_SIZES", "CHUNK", "INSTRUCTION_SETS", "LANES", "MAX_KERNEL", "MAX_ROWS",
    "MAX_STATES", "AttentionArguments", "BlockArguments", "DenseArguments", "RouteArguments",
    "ScanArguments", "address", "describe", "empty", "library", "missing_reason",
    "required_library", "run",
]  # fmt: skip

INSTRUCTION_SETS = ("baseline", "AVX2", "AVX-512")


@lru_cache
def library() -> ctypes.CDLL | None:
    """The library, or ``None`` if it was not built (:func:`missing_reason` says so)."""
    spec = importlib.util.find_spec("mambair.ops.native._kernels")
    if spec is None or spec.origin is None:
        return None
    loaded = ctypes.CDLL(spec.origin)
    for name in (
        "mambair_scan_forward",
        "mambair_scan_backward",
        "mambair_attention_forward",
        "mambair_attention_backward",
        "mambair_dense",
        "mambair_dense_backward",
        "mambair_block",
        "mambair_block_backward",
        "mambair_route",
    ):
        function = getattr(loaded, name)
        function.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
        function.restype = None
    for name in ("mambair_block_floats", "mambair_block_sums_floats"):
        function = getattr(loaded, name)
        function.argtypes = [ctypes.c_void_p]
        function.restype = ctypes.c_int64
    return loaded


def required_library() -> ctypes.CDLL:
    """The library; ``RuntimeError`` if it was not built."""
    loaded = library()
    if loaded is None:
        raise RuntimeError(f"the C++ kernels are missing: {missing_reason()}")
    return loaded


def missing_reason() -> str | None:
    """Why there is no library; ``None`` if there is one."""
    if library() is None:
        return "its library was not built; install a C++ compiler and reinstall the package"
    return None


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


def run(kernel: str, arguments: ctypes.Structure) -> None:
    """Runs a kernel on as many threads as torch uses; other Python threads go on meanwhile."""
    function = getattr(required_library(), kernel)
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
LANES, CHUNK, MAX_ROWS = _constant("lanes"), _constant("chunk"), _constant("max_rows")
MAX_KERNEL, MAX_STATES = _constant("max_kernel"), _constant("max_states")
