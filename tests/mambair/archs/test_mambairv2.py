"""Requirements on MambaIRv2 in every configuration."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mambair.archs import MambaIRv2, MambaIRv2Light
from mambair.archs.mambairv2_blocks import AttentiveBlock
from mambair.archs.selective_ssm import SelectiveSSM
from mambair.archs.warm_start import start_at_bicubic
from mambair.archs.window_attention import WindowAttention
from mambair.imaging.resizing import imresize
from mambair.ops import native
from tests.conftest import photograph, tiny_network
from tests.mambair.archs.compilation import assert_compiles_and_exports

# Trainable parameters of the published configurations.
_S = dict(embed_dim=132, depths=[4] * 6, num_heads=[4] * 6)
_B = dict(embed_dim=174, depths=[6] * 6, num_heads=[6] * 6)
_L = dict(embed_dim=174, depths=[6] * 9, num_heads=[6] * 9)
_CLASSIC = dict(d_state=16, inner_rank=64, num_tokens=128, mlp_ratio=2.0)
_LIGHT = dict(
    embed_dim=48, depths=[5] * 4, num_heads=[4] * 4, d_state=8, inner_rank=32, num_tokens=64,
    mlp_ratio=1.0, upsampler="pixelshuffledirect",
)  # fmt: skip
_SHUFFLE = dict(upsampler="pixelshuffle")
PUBLISHED = [
    (MambaIRv2Light, _LIGHT | dict(upscale=2), 774_092),
    (MambaIRv2Light, _LIGHT | dict(upscale=3), 780_587),
    (MambaIRv2Light, _LIGHT | dict(upscale=4), 789_680),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _S | dict(upscale=2), 9_621_935),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _S | dict(upscale=3), 9_806_575),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _S | dict(upscale=4), 9_769_647),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _B | dict(upscale=2), 22_903_001),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _B | dict(upscale=3), 23_087_641),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _B | dict(upscale=4), 23_050_713),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _L | dict(upscale=2), 34_090_523),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _L | dict(upscale=3), 34_275_163),
    (MambaIRv2, _CLASSIC | _SHUFFLE | _L | dict(upscale=4), 34_238_235),
    (MambaIRv2, _CLASSIC | _B | dict(upscale=1, img_size=126, in_chans=1), 22_651_705),
    (MambaIRv2, _CLASSIC | _B | dict(upscale=1, img_size=128), 22_657_971),
]


def build(**changes: object) -> nn.Module:
    section = tiny_network(**changes)
    cls = {"MambaIRv2": MambaIRv2, "MambaIRv2Light": MambaIRv2Light}[section.pop("type")]
    torch.manual_seed(0)
    return cls(**section)


@pytest.mark.parametrize(("cls", "arguments", "parameters"), PUBLISHED)
def test_parameter_counts(cls: type[nn.Module], arguments: dict, parameters: int) -> None:
    net = cls(img_range=1.0, resi_connection="1conv", window_size=16, convffn_kernel_size=5,
              **{"img_size": 64, **arguments})  # fmt: skip
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize(
    "change",
    [
        dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=2),
        dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=3),
        dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=4),
        dict(type="MambaIRv2", upsampler="nearest+conv", upscale=4),
        dict(type="MambaIRv2", upsampler="", upscale=1),
        dict(upsampler="pixelshuffledirect", upscale=2),
        dict(upsampler="pixelshuffledirect", upscale=3, resi_connection="3conv", ape=True),
    ],
)
def test_any_size(change: dict, in_chans: int) -> None:
    net = build(in_chans=in_chans, **change).eval()
    for height, width in ((1, 1), (1, 9), (5, 2), (8, 8), (13, 4)):
        x = torch.rand(2, in_chans, height, width)
        with torch.no_grad():
            y = net(x)
        assert y.shape == (2, in_chans, height * net.upscale, width * net.upscale)
        assert torch.isfinite(y).all()


def test_padding_mirrors_with_the_edge_pixel() -> None:
    """A picture smaller than the window is the top left of its own mirror images."""
    net = build(routing="argmax").eval()
    x = torch.rand(1, 3, 3, 4)
    mirrored = torch.cat([x, x.flip(-2)], dim=-2)[..., :4, :]
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(mirrored)[..., :6, :], atol=1e-6, rtol=0)


def test_state_dict_holds_the_index_and_not_the_mean() -> None:
    keys = set(build().state_dict())
    assert "relative_position_index_SA" in keys
    assert "mean" not in keys
    assert build().to(torch.float16).mean.dtype == torch.float16


def test_initialization() -> None:
    net = MambaIRv2(embed_dim=64, depths=[2], num_heads=[4], window_size=8, d_state=6)
    for module in net.modules():
        if isinstance(module, nn.Linear):
            assert float(module.weight.std()) == pytest.approx(0.02, rel=0.2)
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()
        elif isinstance(module, AttentiveBlock):
            assert (module.scale1 == 1e-4).all()
            assert (module.scale2 == 1e-4).all()
            assert float(module.embeddingA.weight.abs().max()) <= 1 / 32
            assert float(module.assm.embeddingB.weight.abs().max()) <= 1 / 64
        elif isinstance(module, SelectiveSSM):
            expected = torch.arange(1, 7).float().log().expand(128, 6)
            torch.testing.assert_close(module.A_logs.data, expected)
            assert (module.Ds == 1).all()
            step = nn.functional.softplus(module.dt_projs_bias)
            assert float(step.min()) >= 0.99e-3
            assert float(step.max()) <= 1.01e-1
            assert float(module.x_proj_weight.abs().max()) <= 128**-0.5
            assert float(module.dt_projs_weight.abs().max()) <= module.dt_rank**-0.5


def test_the_same_picture_gives_the_same_result() -> None:
    net = build().eval()
    x = torch.rand(1, 3, 20, 12)
    with torch.no_grad():
        first = net(x)
        torch.manual_seed(123)
        assert torch.equal(net(x), first)
        twice = net(torch.cat([x, x]))
    torch.testing.assert_close(twice[0], twice[1], atol=0, rtol=0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with torch.no_grad():
        net(x)
    assert torch.equal(torch.get_rng_state(), before)


_IN_A_PROCESS = """
import hashlib, torch, basicsr_mambair
from tests.mambair.archs.test_mambairv2 import fixed_output
print(hashlib.sha256(fixed_output().numpy().tobytes()).hexdigest())
"""


def fixed_output() -> torch.Tensor:
    net = build().eval()
    torch.manual_seed(1)
    x = torch.rand(1, 3, 24, 20)
    with torch.no_grad():
        return net(x)


def test_two_processes_give_bit_identical_output() -> None:
    here = hashlib.sha256(fixed_output().numpy().tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS], capture_output=True, text=True, check=True
    )
    assert there.stdout.split()[-1] == here


def test_routing_modes_differ_and_can_be_changed() -> None:
    net = build().eval()
    for block in net.modules():  # routes that matter: prompts of visible size, scores nearly equal
        if isinstance(block, AttentiveBlock):
            nn.init.normal_(block.embeddingA.weight)
            nn.init.normal_(block.assm.embeddingB.weight)
    x = torch.rand(1, 3, 16, 16)
    outputs = []
    with torch.no_grad():
        for routing, seed in (("sampled", 0), ("sampled", 1), ("argmax", 0)):
            net.set_routing(routing, seed)
            outputs.append(net(x))
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    with pytest.raises(ValueError, match="routing must be"):
        net.set_routing("sample")


def test_checkpointing_recomputes_every_block() -> None:
    x = torch.rand(1, 3, 8, 8)
    calls = {}
    for use_checkpoint in (False, True):
        net = build(use_checkpoint=use_checkpoint).train()
        count = 0

        def count_call(*_: object) -> None:
            nonlocal count
            count += 1

        for module in net.modules():
            if isinstance(module, AttentiveBlock):
                module.wqkv.register_forward_hook(count_call)
        net(x).mean().backward()
        calls[use_checkpoint] = count
    assert calls == {False: 3, True: 6}


def test_gradients_reach_every_parameter() -> None:
    net = build().train()
    net(torch.rand(1, 3, 8, 8)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_weights(dtype: torch.dtype) -> None:
    net = build(routing="argmax").eval()
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        expected = net(x)
        y = net.to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("cls", [MambaIRv2, MambaIRv2Light])
def test_unknown_arguments_are_errors(cls: type[nn.Module]) -> None:
    with pytest.raises(
        TypeError, match=f"{cls.__name__} has no argument 'embed_dimm'.*'embed_dim'"
    ):
        cls(embed_dimm=48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(depths=[1]), "one entry a stage"),
        (dict(embed_dim=27), "not a multiple of num_heads"),
        (dict(upsampler="pixelshufle"), "upsampler must be one of"),
        (dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=6), "power of 2, or 3"),
        (dict(type="MambaIRv2", upsampler="nearest+conv"), "upscale must be 4"),
        (dict(resi_connection="2conv"), "'1conv' or '3conv'"),
        (dict(convffn_kernel_size=4), "must be odd"),
        (dict(patch_size=2), "patch_size must be 1"),
        (dict(embed_dim=26, mlp_ratio=1.04, num_heads=[2, 2]), "odd"),
        (dict(routing="greedy"), "routing must be"),
    ],
)
def test_arguments_that_do_not_fit(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**change)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_warm_start_interpolates_bicubically(scale: int) -> None:
    net = build(upscale=scale).eval()
    start_at_bicubic(net)
    image = photograph("chelsea", 24, 32).astype(np.float64) / 255
    x = torch.from_numpy(image.transpose(2, 0, 1))[None].float()
    with torch.no_grad():
        y = net(x)[0].numpy().transpose(1, 2, 0)
    inside = slice(2 * scale, -2 * scale)
    expected = imresize(image, scale)
    np.testing.assert_allclose(y[inside, inside], expected[inside, inside], atol=1e-5)


def test_warm_start_trains_every_part() -> None:
    net = build().train()
    start_at_bicubic(net)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (net(torch.rand(1, 3, 8, 8)) - torch.rand(1, 3, 16, 16)).abs().mean().backward()
        optimizer.step()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        if "layers" in name and "route" not in name and "embedding" not in name:
            assert parameter.grad.any(), name


def test_warm_start_at_scale_1_returns_the_input() -> None:
    net = build(type="MambaIRv2", upsampler="", upscale=1).eval()
    start_at_bicubic(net)
    x = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(net(x), x, atol=1e-6, rtol=0)


def test_warm_start_refuses_other_networks() -> None:
    with pytest.raises(ValueError, match="pixelshuffledirect"):
        start_at_bicubic(build(type="MambaIRv2", upsampler="pixelshuffle"))
    with pytest.raises(ValueError, match="embed_dim 27"):
        start_at_bicubic(build(embed_dim=24))


@pytest.mark.parametrize("routing", ["argmax", "sampled"])
@pytest.mark.parametrize("kind", ["MambaIRv2", "MambaIRv2Light"])
def test_compile_and_export(kind: str, routing: str) -> None:
    upsampler = "pixelshuffle" if kind == "MambaIRv2" else "pixelshuffledirect"
    net = build(type=kind, upsampler=upsampler, routing=routing).eval()
    assert_compiles_and_exports(net)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("kind", ["MambaIRv2", "MambaIRv2Light"])
def test_compile_with_inductor(kind: str) -> None:
    """The compiler that ``torch.compile`` takes by default."""
    upsampler = "pixelshuffle" if kind == "MambaIRv2" else "pixelshuffledirect"
    net = build(type=kind, upsampler=upsampler, depths=[1], num_heads=[2]).eval()
    x = torch.rand(1, 3, 13, 18)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(net, fullgraph=True)
        torch.testing.assert_close(compiled(x), net(x), atol=1e-5, rtol=0)
    torch._dynamo.reset()


def test_parameters_written_in_place_are_seen() -> None:
    """BasicSR's EMA writes through ``.data``, which leaves no trace in a tensor's version."""
    net = build(routing="argmax").eval()
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        results = [net(x)]
        for module in net.modules():
            if isinstance(module, WindowAttention):
                module.relative_position_bias_table.data.normal_()
        results.append(net(x))
        for module in net.modules():
            if isinstance(module, SelectiveSSM):
                module.A_logs.data.mul_(2)
        results.append(net(x))
    assert not any(map(torch.equal, results, results[1:]))


@pytest.mark.parametrize("use_checkpoint", [False, True])
@pytest.mark.parametrize("kernels", [False, True])
def test_fused_training_noise(
    kernels: bool, use_checkpoint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Follows manual_seed, differs between batch elements and passes, reaches every parameter."""
    if kernels and not native.AVAILABLE:
        pytest.skip("the C++ kernels are not built")
    monkeypatch.setattr(native, "AVAILABLE", kernels)
    net = build(use_checkpoint=use_checkpoint, num_tokens=16).train()
    net.set_training_noise("fused")
    x = torch.rand(1, 3, 16, 16).expand(2, -1, -1, -1)
    torch.manual_seed(0)
    first, second = net(x), net(x)
    torch.manual_seed(0)
    again = net(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    again.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    with pytest.raises(ValueError, match="training noise"):
        net.set_training_noise("fresh")


@pytest.mark.parametrize("kernels", [False, True])
def test_parts_of_a_batch_get_the_noise_of_the_whole(
    kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels and not native.AVAILABLE:
        pytest.skip("the C++ kernels are not built")
    monkeypatch.setattr(native, "AVAILABLE", kernels)
    net = build(num_tokens=16).train()
    net.set_training_noise("fused")
    x = torch.rand(1, 3, 16, 16).expand(4, -1, -1, -1)
    net.place_training_noise(-5, 0)
    whole, again = net(x), net(x)
    assert torch.equal(whole, again)
    net.place_training_noise(-5, 3)
    torch.testing.assert_close(net(x[3:]), whole[3:])
    net.place_training_noise(6, 3)
    assert not torch.allclose(net(x[3:]), whole[3:])
