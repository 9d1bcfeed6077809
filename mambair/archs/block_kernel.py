"""Whether a block is made of just those layers that the kernel of whole blocks stands for.

The kernel does not call the layers. So each has to be exactly of the class that this package built
it of, with its settings, and with nobody watching what passes through it; otherwise the layers run.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mambair.archs.attentive_ssm import AttentiveSSM
from mambair.archs.feedforward import ConvFFN, DepthwiseConv, GatedConvFFN, SpatialGate
from mambair.archs.selective_ssm import SelectiveSSM
from mambair.archs.window_attention import WindowAttention
from mambair.ops import attentive_block
from mambair.ops.dense import has_hooks

_PARTS = (
    AttentiveSSM, ConvFFN, DepthwiseConv, GatedConvFFN, SelectiveSSM, SpatialGate, WindowAttention,
    nn.Conv2d, nn.Embedding, nn.GELU, nn.LayerNorm, nn.Linear, nn.Sequential,
)  # fmt: skip
_PATHS = {name: name.split(".") for name in attentive_block.PARAMETERS}


def kernel_parameters(block: Any, x: Tensor) -> list[Tensor] | None:
    """What the kernel takes for an ``AttentiveBlock`` and its input; ``None``: layers must run."""
    if not attentive_block.takes(x) or block.assm.selectiveScan.backend not in ("auto", "cpp"):
        return None
    if has_hooks(block) or not all(map(_is_ours, block._modules.values())):
        return None
    found = {name: _lookup(block, path) for name, path in _PATHS.items()}
    if any(value is None and name != "wqkv.bias" for name, value in found.items()):
        return None
    parameters = [*found.values(), *block.convffn1.kernel_parameters()]
    parameters += block.convffn2.kernel_parameters()
    nothing = x.new_empty(0)
    tensors = [nothing if parameter is None else parameter for parameter in parameters]
    heads, window_size = block.win_mhsa.num_heads, block.win_mhsa.window_size
    return tensors if attentive_block.misfit(x, tensors, heads, window_size) is None else None


def _lookup(module: Any, path: list[str]) -> Tensor | None:
    for name in path[:-1]:
        module = module._modules[name]
    return getattr(module, path[-1], None)


def _is_ours(module: Any) -> bool:
    kind = type(module)
    if kind not in _PARTS or has_hooks(module):
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
