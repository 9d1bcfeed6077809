"""The kernels of whole blocks against the same blocks layer by layer, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mambair.archs import attentive_block as kernel
from mambair.archs.attentive_ssm import Routing
from mambair.archs.block_kernel import kernel_parameters
from mambair.archs.feedforward import ConvFFN, GatedConvFFN
from mambair.archs.mambairv2_arch import MambaIRv2Light
from mambair.archs.mambairv2_blocks import AttentiveBlock
from mambair.ops import native
from mambair.ops.selective_scan import backend as registry
from mambair.ops.selective_scan import register_backend
from mambair.ops.selective_scan.backends.chunked import ChunkedBackend
from mambair.ops.window_attention import relative_position_index
from tests.conftest import tiny_network

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")

LIGHT = dict(
    dim=48, d_state=8, num_heads=4, window_size=16, shift=0, inner_rank=8, num_tokens=64,
    convffn_kernel_size=5, mlp_ratio=1.0, qkv_bias=True, feed_forward=GatedConvFFN, block_index=3,
)  # fmt: skip
# Changes, and the size of a batch of maps.
CASES = [
    (dict(), (1, 32, 16)),
    (dict(shift=8), (2, 16, 32)),
    (
        dict(
            dim=174,
            num_heads=6,
            mlp_ratio=2.0,
            d_state=16,
            num_tokens=128,
            inner_rank=64,
            feed_forward=ConvFFN,
            shift=8,
        ),
        (1, 16, 32),
    ),
    (dict(shift=2, window_size=4, feed_forward=ConvFFN, mlp_ratio=2.0, d_state=16), (2, 8, 12)),
    (dict(shift=2, window_size=5, dim=29, num_heads=1, mlp_ratio=2.0, num_tokens=5), (1, 10, 15)),
    (dict(window_size=6, dim=30, num_heads=3, feed_forward=ConvFFN, d_state=3), (1, 12, 78)),
    (dict(window_size=4, convffn_kernel_size=3, num_tokens=17, qkv_bias=False), (1, 4, 4)),
    (dict(window_size=4, convffn_kernel_size=9, mlp_ratio=1.3, feed_forward=ConvFFN), (1, 8, 8)),
    (dict(window_size=20, dim=10, num_heads=2, shift=10, d_state=64), (1, 20, 40)),
]
ROUTINGS = [
    Routing("argmax"),
    Routing("seeded", 5),
    Routing("fresh", torch.tensor([3], dtype=torch.int32)),
]


def build(changes: dict[str, Any]) -> AttentiveBlock:
    torch.manual_seed(0)
    block = AttentiveBlock(**{**LIGHT, **changes})
    for name, parameter in block.named_parameters():
        if "norm" in name or "scale" in name or "bias" in name or "embedding" in name:
            nn.init.normal_(parameter, 0.5 if name.endswith("weight") else 0.0, 0.5)
    return block


def results(
    block: AttentiveBlock, x: torch.Tensor, routing: Routing
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Output, and the gradients of a weighted sum of it by input and parameters."""
    x = x.clone().requires_grad_()
    y = block(x, relative_position_index(block.win_mhsa.window_size), routing)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    block.zero_grad()
    (y * weight.to(y.dtype)).sum().backward()
    grads = {name: p.grad for name, p in block.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return y.detach(), {"x": x.grad, **grads}


def runs_the_kernel(run: Callable[[], Any]) -> bool:
    called = []
    original = native.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "run", lambda *a: (called.append(a[0]), original(*a))[1])
        run()
    return "mambair_block" in called


def check(
    changes: dict[str, Any], size: tuple[int, int, int], routing: Routing, training: bool
) -> None:
    block = build(changes).train(training)
    x = torch.randn(*size, block.norm1.normalized_shape[0])
    actual = []
    assert runs_the_kernel(lambda: actual.extend(results(block, x, routing)))
    with torch.no_grad():
        again = block(x, relative_position_index(block.win_mhsa.window_size), routing)
    expected = results(block.double(), x.double(), routing)
    torch.testing.assert_close(actual[0].double(), expected[0], atol=2e-4, rtol=1e-4)
    assert torch.equal(actual[0], again)  # without gradients, nothing else is computed
    for name, gradient in expected[1].items():
        difference = (actual[1][name] - gradient).abs().max()
        assert difference < 2e-4 * max(1e-3, gradient.abs().max()), name
    assert actual[1].keys() == expected[1].keys()  # the route learns nothing without noise


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("routing", ROUTINGS, ids=lambda routing: routing.mode)
@pytest.mark.parametrize(("changes", "size"), CASES)
def test_outputs_and_gradients(
    changes: dict[str, Any], size: tuple[int, int, int], routing: Routing, training: bool
) -> None:
    check(changes, size, routing, training)


@pytest.mark.parametrize("case", [1, 3, 4])
def test_every_instruction_set(case: int, instruction_set: None) -> None:
    check(*CASES[case], ROUTINGS[2], training=True)


def test_noise_of_the_global_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = build({}).train(), torch.randn(1, 16, 16, 48)
    found = []
    for available in (True, False):
        monkeypatch.setattr(native, "AVAILABLE", available)
        torch.manual_seed(7)
        found.append(results(block, x, Routing("global")))
    torch.testing.assert_close(*(output for output, _ in found), atol=2e-4, rtol=1e-4)
    for name, gradient in found[1][1].items():
        assert (found[0][1][name] - gradient).abs().max() < 1e-3 * gradient.abs().max(), name


def test_the_number_of_threads_does_not_show() -> None:
    block, x = build(dict(shift=8)).train(), torch.randn(3, 32, 32, 48)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            output, grads = results(block, x, ROUTINGS[1])
            found.append([output, *grads.values()])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


class Adapted(nn.Linear):
    """A layer of another class than the kernel implements."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


class OtherFFN(ConvFFN):
    def forward(self, *arguments: Any) -> torch.Tensor:
        return super().forward(*arguments) * 2


def own_forward(layer: nn.Module) -> None:
    layer.forward = lambda x: nn.Linear.forward(layer, x) * 2


CHANGES: dict[str, Callable[[AttentiveBlock], Any]] = {
    "hook": lambda b: b.assm.route[0].register_forward_hook(lambda _, __, y: y * 2),
    "hook before": lambda b: b.convffn1.fc2.register_forward_pre_hook(lambda _, x: (x[0] * 2,)),
    "own forward": lambda b: own_forward(b.wqkv),
    "other class": lambda b: setattr(b.convffn2.fc1, "__class__", Adapted),
    "other norm": lambda b: setattr(b, "norm3", nn.LayerNorm(48, eps=0.1)),
    "norm without parameters": lambda b: setattr(b, "norm1", nn.LayerNorm(48, bias=False)),
    "root mean square": lambda b: setattr(b, "norm1", nn.RMSNorm(48)),
    "padding": lambda b: setattr(b.assm.CPE[0], "padding_mode", "circular"),
    "no bias of a convolution": lambda b: b.assm.CPE[0].register_parameter("bias", None),
    "wider FFN": lambda b: setattr(b, "convffn2", GatedConvFFN(48, 96, 5)),
    "smaller kernel": lambda b: setattr(b, "convffn2", GatedConvFFN(48, 48, 3)),
    "other FFN": lambda b: setattr(b, "convffn1", OtherFFN(48, 48, 5)),
    "parametrized": lambda b: nn.utils.parametrizations.weight_norm(b.assm.out_proj),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_what_runs(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, index, found = torch.randn(1, 16, 16, 48), relative_position_index(16), []
    block = build({})
    before = block(x, index, ROUTINGS[0])
    CHANGES[change](block)
    block = block.requires_grad_()
    assert not runs_the_kernel(lambda: found.append(block(x, index, ROUTINGS[0])))
    monkeypatch.setattr(native, "AVAILABLE", False)
    found.append(block(x, index, ROUTINGS[0]))
    torch.testing.assert_close(*found, atol=2e-4, rtol=1e-4)
    if change not in ("parametrized",):  # which computes the same
        assert (found[0] - before).abs().max() > 1e-3


def test_gradients_are_shown_to_backward_hooks() -> None:
    block, seen = build({}), []
    block.convffn1.fc2.register_full_backward_hook(lambda *_: seen.append(1))
    assert not runs_the_kernel(lambda: results(block, torch.randn(1, 16, 16, 48), ROUTINGS[0]))
    assert seen


def test_other_backends_and_types_run_the_layers() -> None:
    x, index, block = torch.randn(1, 16, 16, 48), relative_position_index(16), build({})
    assert runs_the_kernel(lambda: block(x, index, ROUTINGS[0]))
    with torch.autocast("cpu", torch.bfloat16):
        assert not runs_the_kernel(lambda: block(x, index, ROUTINGS[0]))
    block.assm.selectiveScan.backend = "torch"
    assert not runs_the_kernel(lambda: block(x, index, ROUTINGS[0]))


def test_auto_means_for_blocks_what_it_means_for_scans() -> None:
    """A backend that "auto" prefers runs in every block: the layers do, with its scan."""
    x, index, block = torch.randn(1, 16, 16, 48), relative_position_index(16), build({})
    expected = block(x, index, ROUTINGS[0])
    before, scans = dict(registry.BACKENDS), []

    class Preferred(ChunkedBackend):
        name = "preferred"
        priority = 1000

        def forward(self, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
            scans.append(1)
            return super().forward(*arguments)

    try:
        register_backend(Preferred)
        assert not runs_the_kernel(lambda: block(x, index, ROUTINGS[0]))
        assert len(scans) == 1
        torch.testing.assert_close(block(x, index, ROUTINGS[0]), expected, atol=2e-4, rtol=1e-4)
        block.assm.selectiveScan.backend = "cpp"
        assert runs_the_kernel(lambda: block(x, index, ROUTINGS[0]))
    finally:
        registry.BACKENDS.clear()
        registry.BACKENDS.update(before)
    block.assm.selectiveScan.backend = "auto"
    assert runs_the_kernel(lambda: block(x, index, ROUTINGS[0]))


def test_every_parameter_of_the_list_is_one_of_the_block() -> None:
    """The kernel's list and the state dict name the same tensors, and all of them."""
    for changes in ({}, dict(feed_forward=ConvFFN), dict(qkv_bias=False)):
        block = build(changes)
        parameters = kernel_parameters(block, torch.randn(1, 16, 16, 48))
        assert parameters is not None
        passed = {id(tensor) for tensor in parameters if tensor.numel()}
        assert passed == {id(parameter) for parameter in block.parameters()}


def test_maps_that_windows_do_not_fill_are_refused() -> None:
    block = build({})
    with pytest.raises(ValueError, match="20×16 is not a multiple of the window, 16"):
        block(torch.randn(1, 20, 16, 48), relative_position_index(16), ROUTINGS[0])
    parameters = kernel_parameters(block, torch.randn(1, 16, 16, 48))
    with pytest.raises(ValueError, match="20×16×48 by 4 heads"):
        kernel.attentive_block(
            torch.randn(1, 20, 16, 48), parameters, 4, 16, 0, None, None, False, False
        )


@pytest.mark.parametrize("name", ["assm.route.0.weight", "convffn1.fc1.bias", "wqkv.bias"])
def test_nan_is_not_lost(name: str) -> None:
    block = build({})
    with torch.no_grad():
        block.get_parameter(name)[0] = float("nan")
    y, _ = results(block, torch.randn(1, 16, 16, 48), ROUTINGS[1])
    assert name.startswith("assm.route") or y.isnan().any()
    for value in (float("nan"), float("inf")):
        x = torch.randn(1, 16, 16, 48)
        x[0, 3, 4, 5] = value
        y, _ = results(build({}), x, ROUTINGS[1])
        assert y[0, 3, 4].isnan().any()


def test_defaults_of_torch_do_not_matter() -> None:
    block, x = build({}), torch.randn(1, 16, 16, 48)
    expected = results(block, x, ROUTINGS[1])
    index = relative_position_index(16)
    try:
        torch.set_default_dtype(torch.bfloat16)
        actual = block(x, index, ROUTINGS[1])
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(actual, expected[0])


def test_replicas_have_no_parameters_of_their_own() -> None:
    """Copies that nn.DataParallel makes hold tensors where modules hold parameters."""
    block, x = build({}), torch.randn(1, 16, 16, 48)
    copy = block._replicate_for_data_parallel()
    for name, parameter in block._parameters.items():
        setattr(copy, name, parameter)
    index = relative_position_index(16)
    assert torch.equal(copy(x, index, ROUTINGS[0]), block(x, index, ROUTINGS[0]))


def test_pictures_of_a_batch_are_independent() -> None:
    net = MambaIRv2Light(**{k: v for k, v in tiny_network().items() if k != "type"}).eval()
    pictures = torch.rand(3, 3, 14, 9)
    with torch.no_grad():
        together = net(pictures)
        for one, picture in zip(together, pictures, strict=True):
            torch.testing.assert_close(net(picture[None])[0], one, atol=1e-5, rtol=0)


def test_a_frozen_block_passes_gradients_on() -> None:
    block, x = build({}).requires_grad_(False), torch.randn(1, 16, 16, 48, requires_grad=True)
    block(x, relative_position_index(16), ROUTINGS[1]).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in block.parameters())


@pytest.mark.parametrize("keep", [False, True])
def test_operator_is_well_behaved(keep: bool) -> None:
    block = build(dict(window_size=4, num_tokens=5))
    x = torch.randn(1, 4, 8, 48, requires_grad=keep)
    parameters = kernel_parameters(block, x)
    assert parameters is not None
    if not keep:
        parameters = [parameter.detach() for parameter in parameters]
    arguments = (4, 4, 2, ROUTINGS[2].seed, None, keep, keep)
    torch.library.opcheck(kernel.attentive_block, (x, parameters, *arguments))
