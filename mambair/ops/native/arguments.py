"""What the C++ kernels take: the structures of ``api.h``, field by field."""

from __future__ import annotations

import ctypes
from typing import Any

_INT, _FLAG, _FLOAT, _POINTER = ctypes.c_int64, ctypes.c_int32, ctypes.c_float, ctypes.c_void_p


def _fields(*parts: tuple[Any, str]) -> list[tuple[str, Any]]:
    return [(name, kind) for kind, names in parts for name in names.split()]


class ScanArguments(ctypes.Structure):
    """The selective scan."""

    _fields_ = _fields(
        (_INT, "batch length channels groups d_state"),
        (_POINTER, "u delta A B C D bias"),
        (_INT, "u_batch u_token delta_batch delta_token"),
        (_INT, "B_batch B_token B_group C_batch C_token C_group"),
        (_POINTER, "y states"),
        (_INT, "rank"),
        (_POINTER, "low low_weight carry progress"),
        (_POINTER, "grad_y grad_u grad_delta grad_B grad_C grad_A grad_D grad_bias"),
    )


class AttentionArguments(ctypes.Structure):
    """Window attention."""

    _fields_ = _fields(
        (_INT, "batch height width channels heads window shift"),
        (_POINTER, "qkv table out log_sums"),
        (_INT, "parts"),
        (_POINTER, "grad_out grad_qkv grad_table"),
        (_FLOAT, "scale"),
        (_POINTER, "tables"),
    )


class DenseArguments(ctypes.Structure):
    """A linear layer with what stands around it."""

    _fields_ = _fields(
        (_INT, "tokens in out x_token times_token"),
        (_POINTER, "x times norm_weight norm_bias weight bias residual second scale y"),
        (_FLOAT, "eps"),
        (_FLAG, "gelu"),
        (_INT, "parts"),
        (_POINTER, "grad_y grad_x grad_times grad_norm_weight grad_norm_bias"),
        (_POINTER, "grad_weight grad_bias grad_second grad_scale sums"),
    )


class BlockArguments(ctypes.Structure):
    """A block of MambaIRv2."""

    _fields_ = _fields(
        (_INT, "batch height width channels heads window shift"),
        (_INT, "hidden d_state rank classes inner_rank route_hidden kernel"),
        (_POINTER, "x y parameters keys noise packed"),
        (_POINTER, "part1 half part2 ffn1 ffn2 inner ordered scanned projected"),
        (_POINTER, "chosen order inverse qkv attended log_sums states"),
        (_INT, "parts"),
        (_POINTER, "grad_y grad_x grad_parameters sums grad_part grad_half"),
        (_POINTER, "grad_ffn grad_conv grad_inner grad_scanned grad_ordered grad_delta"),
        (_POINTER, "grad_B grad_C grad_A grad_D grad_bias"),
        (_FLOAT, "eps"),
        (_FLAG, "gated soft"),
    )


class RouteArguments(ctypes.Structure):
    """The choice of a class for every token, and their order."""

    _fields_ = _fields(
        (_INT, "batch length classes"),
        (_POINTER, "scores chosen order inverse keys soft"),
    )


# Of BlockArguments, what follows from the shapes of a block.
BLOCK_SIZES = tuple(
    "batch height width channels heads window hidden d_state rank classes inner_rank route_hidden "
    "kernel gated".split()
)
