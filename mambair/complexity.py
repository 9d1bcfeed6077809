"""Parameters, multiply–accumulates and activation memory of a network, without running it.

The network is built on torch's ``meta`` device, where operators only work out shapes, so a count
of the largest network takes seconds and no memory. PyTorch's ``FlopCounterMode`` counts matrix
products and convolutions; formulas for other operators are given here.
"""

from __future__ import annotations

import contextlib
import copy
import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mambair.archs.attentive_ssm import AttentiveSSM
from mambair.archs.contract import Contract, ContractError, contract_of
from mambair.archs.padding import mirror_to_multiple
from mambair.archs.registry import build_network, build_on_meta
from mambair.archs.vision_ssm import VisionSSM

# Operations of the recurrence for every (batch, token, channel, state), and of the skip, as papers
# on Mamba count them: two products for each of exp(δA), δBu and the state, two for ⟨h, C⟩, one exp.
_SCAN_OPERATIONS = 9
_NORM_OPERATIONS = 5  # of LayerNorm for every value, as fvcore counts them


@dataclass(frozen=True)
class Complexity:
    """The cost of a network.

    Attributes:
        parameters: trainable numbers.
        input_size: height and width of the input.
        macs: multiply–accumulates by kind: ``linear``, ``convolution``, ``attention`` (both
            products) and ``scan``; counted for the padded picture, which is what is computed.
        published_extra: operations that the published figures count in addition:
            ``LayerNorm``, and the product with one-hot classes that is a look-up here.
        inference_bytes: largest sum of tensors that are alive at once in ``eval()``,
            without the weights.
        training_bytes: bytes of the tensors that the backward pass needs, without the weights.
    """

    parameters: int
    input_size: tuple[int, int]
    macs: dict[str, int]
    published_extra: dict[str, int]
    inference_bytes: int
    training_bytes: int

    @property
    def total_macs(self) -> int:
        """All multiply–accumulates."""
        return sum(self.macs.values())

    @property
    def published_macs(self) -> int:
        """Operations as the tables of the papers count them."""
        return self.total_macs + sum(self.published_extra.values())


def measure_network(section: Mapping[str, Any], height: int, width: int) -> Complexity:
    """Counts what the network of a ``network_g`` section costs for one picture.

    Memory is that of PyTorch's operators in float32; the C++ kernels for CPUs need less.

    Args:
        section: ``type`` and constructor arguments.
        height: height of the input, in pixels.
        width: width of the input, in pixels.

    Raises:
        ValueError: a size below 1, or arguments that the network does not accept.
        ContractError: the network does not map one picture to one picture.

    Examples:
        >>> from mambair.complexity import measure_network
        >>> section = {"type": "MambaIRv2Light", "depths": [1], "num_heads": [4]}
        >>> cost = measure_network(section, height=8, width=8)
        >>> cost.parameters, cost.macs["scan"] > 0
        (93271, True)
    """
    if height < 1 or width < 1:
        raise ValueError(f"the input must have a size of 1×1 at least, got {height}×{width}")
    net, contract = _build(section)
    device = next(iter(net.parameters())).device
    x = torch.zeros(1, contract.in_chans, height, width, device=device)
    x = mirror_to_multiple(x, contract.size_multiple, contract.minimum_size)

    aten, own = torch.ops.aten, torch.ops.mambair
    formulas = {own.selective_scan: _scan_operations, aten.native_layer_norm: _norm_operations}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.no_grad(), _counting_tokens(net) as tokens, _LiveBytes() as live, counter:
        net.eval()(x)
    counts = counter.get_flop_counts()
    macs = dict.fromkeys(("linear", "convolution", "attention", "scan"), 0)
    for operator, operations in counts["Global"].items():
        if operator is not aten.native_layer_norm:
            macs[_KINDS.get(operator, "linear")] += operations // 2
    for name in _modules_without_attention(net):
        products = counts[name].get(aten.bmm, 0) // 2
        macs["attention"] -= products
        macs["linear"] += products
    extra = {
        "LayerNorm": counts["Global"].get(aten.native_layer_norm, 0) // 2,
        "one-hot product": _one_hot_macs(tokens),
    }
    parameters = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return Complexity(parameters, (height, width), macs, extra, live.peak, _saved_bytes(net, x))


def _build(section: Mapping[str, Any]) -> tuple[nn.Module, Contract]:
    """The network, on the ``meta`` device if it can run there, and its contract."""
    net = build_on_meta(section)
    try:
        return net, contract_of(net)
    except ContractError:
        # Some networks need the values of their own tensors only while they are built.
        net = build_network(section)
    contract = contract_of(net)
    with contextlib.suppress(ContractError):
        trial = copy.deepcopy(net).to("meta")
        contract_of(trial)
        return trial, contract
    return net, contract


# Everything else that FlopCounterMode counts is a matrix product of a linear layer.
_KINDS = {
    torch.ops.aten.convolution: "convolution",
    torch.ops.aten._convolution: "convolution",
    torch.ops.aten.bmm: "attention",
    torch.ops.aten.baddbmm: "attention",
    torch.ops.aten._scaled_dot_product_flash_attention: "attention",
    torch.ops.aten._scaled_dot_product_efficient_attention: "attention",
    torch.ops.mambair.selective_scan: "scan",
}


def _scan_operations(u: Any, delta: Any, A: Any, *_: Any, **__: Any) -> int:
    """FLOPs, two for each counted operation: FlopCounterMode's unit."""
    batch, length, channels = u
    return int(2 * batch * length * channels * (_SCAN_OPERATIONS * A[1] + 1))


def _norm_operations(x: Any, *_: Any, **__: Any) -> int:
    return int(2 * _NORM_OPERATIONS * math.prod(x))


def _modules_without_attention(net: nn.Module) -> list[str]:
    """Modules whose batched products belong to linear layers: MambaIR's four directions."""
    root = type(net).__name__
    return [f"{root}.{name}" for name, each in net.named_modules() if isinstance(each, VisionSSM)]


@contextlib.contextmanager
def _counting_tokens(net: nn.Module) -> Iterator[dict[AttentiveSSM, int]]:
    """Yields how many tokens pass through every module that routes."""
    tokens: dict[AttentiveSSM, int] = {}

    def note(module: AttentiveSSM, arguments: tuple[Tensor, ...]) -> None:
        tokens[module] = arguments[0].shape[1] * arguments[0].shape[2]  # of (B, H, W, C)

    routing = [each for each in net.modules() if isinstance(each, AttentiveSSM)]
    handles = [each.register_forward_pre_hook(note) for each in routing]
    try:
        yield tokens
    finally:
        for handle in handles:
            handle.remove()


def _one_hot_macs(tokens: Mapping[AttentiveSSM, int]) -> int:
    """The published code multiplies one-hot classes by the dictionary of prompts."""
    return sum(
        count * module.num_tokens * module.selectiveScan.d_state for module, count in tokens.items()
    )


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The largest sum of tensors, made while it is active, that are alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current = self.peak = 0
        self.known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: Any) -> None:
        if storage in self.known:
            return
        self.known.add(storage)
        size = storage.nbytes()
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._remove, size)

    def _remove(self, size: int) -> None:
        self.current -= size


def _saved_bytes(net: nn.Module, x: Tensor) -> int:
    """Bytes of the tensors that a forward pass keeps for the backward pass, each counted once."""
    weights = {each.untyped_storage()._cdata for each in (*net.parameters(), *net.buffers())}
    kept: dict[int, Any] = {}  # holds the storages, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = net.train()(x)
    del output
    return sum(storage.nbytes() for storage in kept.values())
