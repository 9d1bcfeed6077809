"""Shapes of the tensors that the kernels of a whole block read and fill."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mambair.ops import native

PARAMETERS = (*native.BLOCK_PARAMETERS, *native.FFN_PARAMETERS, *native.FFN_PARAMETERS)
SLACK = native.LANES  # floats that kernels may read past the end of a map of hidden channels

_FFN1 = len(native.BLOCK_PARAMETERS)
_AT = {name: number for number, name in enumerate(PARAMETERS[: _FFN1 + len(native.FFN_PARAMETERS)])}
_SIDES = (
    *native.BLOCK_PARAMETERS.values(),
    *native.FFN_PARAMETERS.values(),
    *native.FFN_PARAMETERS.values(),
)


class BlockSizes:
    """The sizes of ``block_arguments.inc``, from the shapes of a block's input and parameters.

    Args:
        x: ``(B, H, W, C)``.
        parameters: in the order of ``PARAMETERS``.
        heads: attention heads.
        window: side of the window.
    """

    def __init__(self, x: Tensor, parameters: Sequence[Tensor], heads: int, window: int) -> None:
        if not native.LANES:  # a plain number, which compilers can trace
            native.required_library()
        self.batch, self.height, self.width, self.channels = x.shape
        self.heads, self.window = heads, window
        self.hidden, self.d_state = parameters[_AT["A_LOGS"]].shape
        self.classes, self.inner_rank = parameters[_AT["EMBEDDING_B"]].shape
        self.rank = parameters[_AT["DELTA_WEIGHT"]].shape[2]
        self.route_hidden = parameters[_AT["ROUTE0_WEIGHT"]].shape[0]
        self.kernel = parameters[_AT["CONV_WEIGHT"]].shape[2]
        self.gated = int(parameters[_AT["GATE_WEIGHT"]].numel() > 0)
        self.tokens = self.batch * self.height * self.width
        self.bundles = -(-self.hidden // native.LANES)

    def of_parameters(self) -> list[tuple[int, ...]]:
        """Shapes of the parameters, in their order."""
        convolved = self.hidden // 2 if self.gated else self.hidden
        sides = {
            "one": 1,
            "three": 3,
            "channels": self.channels,
            "three_channels": 3 * self.channels,
            "positions": (2 * self.window - 1) ** 2,
            "heads": self.heads,
            "hidden": self.hidden,
            "d_state": self.d_state,
            "rank": self.rank,
            "projected": self.rank + 2 * self.d_state,
            "classes": self.classes,
            "inner_rank": self.inner_rank,
            "route_hidden": self.route_hidden,
            "kernel": self.kernel,
            "convolved": convolved,
            "gate": convolved if self.gated else 0,
        }
        return [tuple([sides[name] for name in names]) for names in _SIDES]

    def of(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor that a field of ``BlockArguments`` points to.

        ``"indices"`` means ``chosen``, ``order`` and ``inverse`` together.
        """
        if name in (
            "after_attention", "after_ffn1", "after_scan",
            "grad_after_attention", "grad_after_ffn1",
        ):  # fmt: skip
            return (self.tokens, self.channels)
        if name == "projected":
            return (self.tokens, self.rank + 2 * self.d_state)
        if name == "indices":
            return (3, self.tokens)
        area = self.window**2
        windows = self.batch * (self.height // self.window) * (self.width // self.window)
        if name == "log_sums":
            return (windows, area, self.heads)
        if name in ("qkv", "attended"):
            channels = self.channels * (3 if name == "qkv" else 1)
            return (windows, _whole(area, native.MAX_TILE_ROWS), _whole(channels, native.LANES))
        per_bundle = (self.batch, self.bundles)
        if name == "states":
            chunks = -(-self.height * self.width // native.CHUNK)
            return (*per_bundle, chunks, self.d_state, native.LANES)
        if name in ("grad_B", "grad_C"):
            return (*per_bundle, self.height * self.width, self.d_state)
        if name == "grad_A":
            return (*per_bundle, self.d_state, native.LANES)
        if name in ("grad_D", "grad_bias"):
            return (*per_bundle, native.LANES)
        return (self.tokens * self.hidden + SLACK,)  # maps of hidden channels


def _whole(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def misfit(x: Tensor, parameters: Sequence[Tensor], heads: int, window: int) -> str | None:
    """Returns the reason why the kernels cannot take these tensors; ``None`` if they can.

    Args:
        x, parameters, heads, window: the arguments of :class:`BlockSizes`.
    """
    sizes = BlockSizes(x, parameters, heads, window)
    if sizes.height % window or sizes.width % window or sizes.channels % heads:
        return f"{sizes.height}×{sizes.width}×{sizes.channels} by {heads} heads of {window}²"
    if sizes.kernel > native.MAX_KERNEL or sizes.d_state > native.MAX_STATES:
        return f"a kernel of {sizes.kernel} or {sizes.d_state} states"
    shapes = sizes.of_parameters()
    for name, tensor, shape in zip(PARAMETERS, parameters, shapes, strict=True):
        missing = name == "QKV_BIAS" and tensor.numel() == 0
        if tuple(tensor.shape) != shape and not missing:
            return f"{name}, which is {tuple(tensor.shape)} and not {shape}"
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            return f"{name}, {tensor.dtype} on {tensor.device}"
        if not tensor.is_contiguous():
            return f"{name}, which is not contiguous"
    return None
