"""The parameters that the kernel of whole blocks needs, if a block consists of just those layers.

The kernel does not call the layers. So each has to be exactly of the class that this package built
it of, with its settings, and without hooks on what passes through it; otherwise the layers run.
They also run where ``"auto"`` would choose another backend of the scan than the kernel's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mambair.archs import attentive_block
from mambair.archs.attentive_ssm import AttentiveSSM
from mambair.archs.feedforward import ConvFFN, DepthwiseConv, GatedConvFFN, SpatialGate
from mambair.archs.selective_ssm import SelectiveSSM
from mambair.archs.window_attention import WindowAttention
from mambair.ops import native
from mambair.ops.dense import has_hooks
from mambair.ops.native.block_shapes import misfit
from mambair.ops.selective_scan import select_automatic

# Keys of a block's state dict, by the names of ops/native/block_parameters.inc.
_KEYS = {
    "NORM1_WEIGHT": "norm1.weight",
    "NORM1_BIAS": "norm1.bias",
    "NORM2_WEIGHT": "norm2.weight",
    "NORM2_BIAS": "norm2.bias",
    "NORM3_WEIGHT": "norm3.weight",
    "NORM3_BIAS": "norm3.bias",
    "NORM4_WEIGHT": "norm4.weight",
    "NORM4_BIAS": "norm4.bias",
    "SCALE1": "scale1",
    "SCALE2": "scale2",
    "QKV_WEIGHT": "wqkv.weight",
    "QKV_BIAS": "wqkv.bias",
    "TABLE": "win_mhsa.relative_position_bias_table",
    "PROJ_WEIGHT": "win_mhsa.proj.weight",
    "PROJ_BIAS": "win_mhsa.proj.bias",
    "IN_WEIGHT": "assm.in_proj.0.weight",
    "IN_BIAS": "assm.in_proj.0.bias",
    "CPE_WEIGHT": "assm.CPE.0.weight",
    "CPE_BIAS": "assm.CPE.0.bias",
    "X_WEIGHT": "assm.selectiveScan.x_proj_weight",
    "DELTA_WEIGHT": "assm.selectiveScan.dt_projs_weight",
    "DELTA_BIAS": "assm.selectiveScan.dt_projs_bias",
    "A_LOGS": "assm.selectiveScan.A_logs",
    "DS": "assm.selectiveScan.Ds",
    "OUT_NORM_WEIGHT": "assm.out_norm.weight",
    "OUT_NORM_BIAS": "assm.out_norm.bias",
    "OUT_WEIGHT": "assm.out_proj.weight",
    "OUT_BIAS": "assm.out_proj.bias",
    "EMBEDDING_A": "embeddingA.weight",
    "EMBEDDING_B": "assm.embeddingB.weight",
    "ROUTE0_WEIGHT": "assm.route.0.weight",
    "ROUTE0_BIAS": "assm.route.0.bias",
    "ROUTE2_WEIGHT": "assm.route.2.weight",
    "ROUTE2_BIAS": "assm.route.2.bias",
}
# Keys of an FFN's, by the names of ops/native/ffn_parameters.inc.
_LINEAR_KEYS = {
    "FC1_WEIGHT": "fc1.weight",
    "FC1_BIAS": "fc1.bias",
    "FC2_WEIGHT": "fc2.weight",
    "FC2_BIAS": "fc2.bias",
}
_FFN_KEYS: dict[type[nn.Module], dict[str, str | None]] = {
    ConvFFN: {
        **_LINEAR_KEYS,
        "CONV_WEIGHT": "dwconv.depthwise_conv.0.weight",
        "CONV_BIAS": "dwconv.depthwise_conv.0.bias",
        "GATE_WEIGHT": None,
        "GATE_BIAS": None,
    },
    GatedConvFFN: {
        **_LINEAR_KEYS,
        "CONV_WEIGHT": "sg.conv.weight",
        "CONV_BIAS": "sg.conv.bias",
        "GATE_WEIGHT": "sg.norm.weight",
        "GATE_BIAS": "sg.norm.bias",
    },
}
# In the order of the lists; a name that has no key here ends the import.
_PATHS = [(name, _KEYS[name].split(".")) for name in native.BLOCK_PARAMETERS]
_FFN_PATHS = {
    kind: [(keys[name] or "").split(".") for name in native.FFN_PARAMETERS]
    for kind, keys in _FFN_KEYS.items()
}
_OPTIONAL = "QKV_BIAS"

_LAYERS = (
    AttentiveSSM, ConvFFN, DepthwiseConv, GatedConvFFN, SelectiveSSM, SpatialGate, WindowAttention,
    nn.Conv2d, nn.Embedding, nn.GELU, nn.LayerNorm, nn.Linear, nn.Sequential,
)  # fmt: skip


def kernel_parameters(block: Any, x: Tensor) -> list[Tensor] | None:
    """The kernel's tensors for an ``AttentiveBlock`` and its input; ``None``: layers must run."""
    if not attentive_block.takes(x) or not _scans_in_cpp(block.assm.selectiveScan, x):
        return None
    if has_hooks(block) or not all(map(_is_ours, block._modules.values())):
        return None
    nothing = x.new_empty(0)
    tensors: list[Tensor] = []
    for name, path in _PATHS:
        tensor = _lookup(block, path)
        if tensor is None and name != _OPTIONAL:
            return None
        tensors.append(nothing if tensor is None else tensor)
    for ffn in (block.convffn1, block.convffn2):
        for path in _FFN_PATHS[type(ffn)]:
            tensor = _lookup(ffn, path) if path[0] else None
            tensors.append(nothing if tensor is None else tensor)
    heads, window_size = block.win_mhsa.num_heads, block.win_mhsa.window_size
    return tensors if misfit(x, tensors, heads, window_size) is None else None


def _scans_in_cpp(scan: SelectiveSSM, x: Tensor) -> bool:
    """Returns whether the scan of this block would run in C++, as it does inside the kernel."""
    backend = scan.backend
    if backend == "auto":
        compiling = torch.compiler.is_compiling()
        backend = select_automatic(x.device.type, x.dtype, scan.d_state, compiling)
    return backend == "cpp"


def _lookup(module: Any, path: list[str]) -> Tensor | None:
    for name in path[:-1]:
        module = module._modules[name]
    found: Tensor | None = getattr(module, path[-1], None)
    return found


def _is_ours(module: Any) -> bool:
    kind = type(module)
    if kind not in _LAYERS or has_hooks(module):
        return False
    if kind is nn.LayerNorm and (module.eps != attentive_block.EPS or module.bias is None):
        return False
    if kind is nn.Conv2d:
        around = tuple(side // 2 for side in module.kernel_size)
        plain = module.stride == module.dilation == (1, 1) and module.padding_mode == "zeros"
        if not plain or module.padding != around:
            return False
    if kind is nn.GELU and module.approximate != "none":
        return False
    return all(map(_is_ours, module._modules.values()))
