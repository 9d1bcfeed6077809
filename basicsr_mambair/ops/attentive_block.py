"""A whole block of MambaIRv2 without gradients, in one C++ kernel for CPUs.

Layer by layer, a block passes its map through memory some thirty times. The kernel sweeps over it six
times (``native/block.h``), each time taking a window, or a part of a row, through everything that
does not need another one's results, while it is in cache.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from basicsr_mambair.ops import native

# In the order of BlockParameter in native/block.h; names are those of the block's state dict.
PARAMETERS = (
    "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "norm3.weight", "norm3.bias",
    "norm4.weight", "norm4.bias", "scale1", "scale2", "wqkv.weight", "wqkv.bias",
    "win_mhsa.relative_position_bias_table", "win_mhsa.proj.weight", "win_mhsa.proj.bias",
    "assm.in_proj.0.weight", "assm.in_proj.0.bias", "assm.CPE.0.weight", "assm.CPE.0.bias",
    "assm.selectiveScan.x_proj_weight", "assm.selectiveScan.dt_projs_weight",
    "assm.selectiveScan.dt_projs_bias", "assm.selectiveScan.A_logs", "assm.selectiveScan.Ds",
    "assm.out_norm.weight", "assm.out_norm.bias", "assm.out_proj.weight", "assm.out_proj.bias",
    "embeddingA.weight", "assm.embeddingB.weight",
    "assm.route.0.weight", "assm.route.0.bias", "assm.route.2.weight", "assm.route.2.bias",
)  # fmt: skip
# Of one FFN: fc1, fc2, the depthwise convolution, and the norm of the gate, if there is one.
FFN_PARAMETERS = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "conv.weight", "conv.bias")
GATE_PARAMETERS = ("gate.weight", "gate.bias")

_SLACK = 16  # floats that the kernel may read past the end of a map of hidden channels


def can_run(x: Tensor, parameters: Sequence[Tensor | None]) -> bool:
    """Whether the kernel is there and takes these tensors: float32, on a CPU, no gradients."""
    if not native.AVAILABLE or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    return all(
        tensor is None
        or (tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous())
        for tensor in parameters
    )


@torch.library.custom_op(
    "mambair::attentive_block",
    mutates_args=(),
    schema="(Tensor x, Tensor?[] parameters, int heads, int window_size, int shift, float eps, "
    "Tensor? keys, Tensor? noise) -> Tensor",
)
def attentive_block(
    x: Tensor,
    parameters: list[Tensor | None],
    heads: int,
    window_size: int,
    shift: int,
    eps: float,
    keys: Tensor | None,
    noise: Tensor | None,
) -> Tensor:
    """Window attention, FFN, attentive state space, FFN, each with its norms and residuals.

    Args:
        x: ``(B, H, W, C)``; H and W multiples of the window.
        parameters: ``PARAMETERS``, then ``FFN_PARAMETERS`` and ``GATE_PARAMETERS`` of both FFNs;
            ``None`` for missing biases, and for the gates of FFNs without one.
        heads: attention heads.
        window_size: side w.
        shift: pixels by which the windows are moved.
        eps: of every norm.
        keys: of the routing's noise (:mod:`~basicsr_mambair.ops.gumbel`), int32 ``(B,)``, or
            ``None``.
        noise: the routing's noise itself, ``(B, H·W, T)``, or ``None``.

    Returns:
        ``(B, H, W, C)``.
    """
    library = native.library()
    if library is None:
        raise RuntimeError(native.missing_reason())
    named = dict(zip(PARAMETERS, parameters, strict=False))
    first_ffn = parameters[len(PARAMETERS) :]
    x = x.contiguous()
    batch, height, width, channels = x.shape
    tokens = batch * height * width
    hidden, d_state = named["assm.selectiveScan.A_logs"].shape  # type: ignore[union-attr]
    classes, inner_rank = named["assm.embeddingB.weight"].shape  # type: ignore[union-attr]
    rank = named["assm.selectiveScan.dt_projs_weight"].shape[2]  # type: ignore[union-attr]
    route_hidden = named["assm.route.0.weight"].shape[0]  # type: ignore[union-attr]
    kernel = first_ffn[FFN_PARAMETERS.index("conv.weight")].shape[2]  # type: ignore[union-attr]
    gated = first_ffn[len(FFN_PARAMETERS)] is not None

    y = torch.empty(x.shape)
    part, half = torch.empty(tokens, channels), torch.empty(tokens, channels)
    ffn, inner, ordered = (torch.empty(tokens * hidden + _SLACK) for _ in range(3))
    projected = torch.empty(tokens, rank + 2 * d_state)
    indices = torch.empty(3, tokens, dtype=torch.int32)
    noise = None if noise is None else noise.contiguous()
    pointers = (ctypes.c_void_p * len(parameters))(*map(native.address, parameters))
    arguments = native.BlockArguments(
        batch, height, width, channels, heads, window_size, shift,
        hidden, d_state, rank, classes, inner_rank, route_hidden, kernel,
        native.address(x), native.address(y), ctypes.addressof(pointers),
        native.address(keys), native.address(noise), None,
        *map(native.address, (part, half, ffn, inner, ordered, inner, projected, *indices)),
        eps, int(gated),
    )  # fmt: skip
    packed = torch.empty(library.mambair_block_floats(ctypes.addressof(arguments)))
    arguments.packed = native.address(packed)
    native.run("mambair_block", arguments)
    return y


@attentive_block.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return x.new_empty(x.shape)
