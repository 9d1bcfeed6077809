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

_FLOATS = ctypes.c_void_p
INSTRUCTION_SETS = ("baseline", "AVX2", "AVX-512")


class ScanArguments(ctypes.Structure):
    """Mirrors ``ScanArguments`` of ``api.h``."""

    _fields_ = (
        [(name, ctypes.c_int64) for name in ("batch", "length", "channels", "groups", "d_state")]
        + [(name, _FLOATS) for name in ("u", "delta", "A", "B", "C", "D", "bias")]
        + [
            (name, ctypes.c_int64)
            for name in (
                "u_batch", "u_token", "delta_batch", "delta_token",
                "B_batch", "B_token", "B_group", "C_batch", "C_token", "C_group",
            )
        ]
        + [(name, _FLOATS) for name in ("y", "states")]
        + [("rank", ctypes.c_int64)]
        + [
            (name, _FLOATS)
            for name in (
                "low", "low_weight", "carry", "progress",
                "grad_y", "grad_u", "grad_delta", "grad_B", "grad_C", "grad_A", "grad_D", "grad_bias",
            )
        ]
    )  # fmt: skip


class AttentionArguments(ctypes.Structure):
    """Mirrors ``AttentionArguments`` of ``api.h``."""

    _fields_ = (
        [
            (name, ctypes.c_int64)
            for name in ("batch", "height", "width", "channels", "heads", "window", "shift")
        ]
        + [(name, _FLOATS) for name in ("qkv", "table", "out", "log_sums")]
        + [("parts", ctypes.c_int64)]
        + [(name, _FLOATS) for name in ("grad_out", "grad_qkv", "grad_table")]
        + [("scale", ctypes.c_float), ("tables", _FLOATS)]
    )


class DenseArguments(ctypes.Structure):
    """Mirrors ``DenseArguments`` of ``api.h``."""

    _fields_ = (
        [(name, ctypes.c_int64) for name in ("tokens", "in", "out", "x_token", "times_token")]
        + [
            (name, _FLOATS)
            for name in (
                "x", "times", "norm_weight", "norm_bias", "weight", "bias", "residual", "second",
                "scale", "y", "gather", "scatter", "kept",
            )
        ]
        + [("eps", ctypes.c_float)]
        + [(name, ctypes.c_int32) for name in ("gelu", "sigmoid")]
        + [("parts", ctypes.c_int64)]
        + [
            (name, _FLOATS)
            for name in (
                "grad_y", "grad_kept", "grad_x", "grad_times", "grad_norm_weight", "grad_norm_bias",
                "grad_weight", "grad_bias", "grad_second", "grad_scale", "sums",
            )
        ]
    )  # fmt: skip


# The sizes that BlockArguments begins with, but for the shift.
BLOCK_SIZES = (
    "batch", "height", "width", "channels", "heads", "window", "hidden", "d_state", "rank",
    "classes", "inner_rank", "route_hidden", "kernel", "gated",
)  # fmt: skip


class BlockArguments(ctypes.Structure):
    """Mirrors ``BlockArguments`` of ``api.h``."""

    _fields_ = (
        [
            (name, ctypes.c_int64)
            for name in (
                "batch", "height", "width", "channels", "heads", "window", "shift", "hidden",
                "d_state", "rank", "classes", "inner_rank", "route_hidden", "kernel",
            )
        ]
        + [
            (name, ctypes.c_void_p)
            for name in (
                "x", "y", "parameters", "keys", "noise", "packed", "part1", "half", "part2", "ffn1",
                "ffn2", "inner", "ordered", "scanned", "projected", "chosen", "order", "inverse",
                "qkv", "attended", "log_sums", "states",
            )
        ]
        + [("parts", ctypes.c_int64)]
        + [
            (name, ctypes.c_void_p)
            for name in (
                "grad_y", "grad_x", "grad_parameters", "sums", "grad_part", "grad_half", "grad_ffn",
                "grad_conv", "grad_inner", "grad_scanned", "grad_ordered", "grad_delta", "grad_B",
                "grad_C", "grad_A", "grad_D", "grad_bias",
            )
        ]
        + [("eps", ctypes.c_float), ("gated", ctypes.c_int32), ("soft", ctypes.c_int32)]
    )  # fmt: skip


class RouteArguments(ctypes.Structure):
    """Mirrors ``RouteArguments`` of ``api.h``."""

    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "length", "classes")] + [
        (name, ctypes.c_void_p) for name in ("scores", "chosen", "order", "inverse", "keys", "soft")
    ]


@lru_cache
def library() -> ctypes.CDLL | None:
    """The library, or ``None`` if it was not built (:func:`missing_reason` says so)."""
    spec = importlib.util.find_spec("basicsr_mambair.ops.native._kernels")
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


def run(kernel: str, arguments: ctypes.Structure) -> None:
    """Runs a kernel on as many threads as torch uses; other Python threads go on meanwhile."""
    loaded = library()
    if loaded is None:
        raise RuntimeError(missing_reason())
    function = getattr(loaded, kernel)
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
