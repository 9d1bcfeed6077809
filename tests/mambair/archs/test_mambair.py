"""MambaIR, the first version; its parity file is in test_parity.py."""

from __future__ import annotations

import pytest
import torch

from mambair.archs import MambaIR
from mambair.ops.selective_scan import available_backends
from tests.mambair.archs.compilation import assert_compiles_and_exports

# Trainable parameters of the published configurations.
_CLASSIC = dict(embed_dim=180, depths=[6] * 6, d_state=16, mlp_ratio=2, upsampler="pixelshuffle")
_LIGHT = dict(
    embed_dim=60, depths=[6] * 4, d_state=10, mlp_ratio=1.2, upsampler="pixelshuffledirect"
)
PUBLISHED = [
    (_CLASSIC | dict(upscale=2), 20_421_863),
    (_CLASSIC | dict(upscale=3), 20_606_503),
    (_CLASSIC | dict(upscale=4), 20_569_575),
    (_LIGHT | dict(upscale=2), 905_016),
    (_LIGHT | dict(upscale=3), 913_131),
    (_LIGHT | dict(upscale=4), 924_492),
]
HEADS = [
    dict(upsampler="pixelshuffle", upscale=2),
    dict(upsampler="pixelshuffledirect", upscale=3),
    dict(upsampler="nearest+conv", upscale=4),
    dict(upsampler="", upscale=1, in_chans=1),
]


def build(**changes: object) -> MambaIR:
    torch.manual_seed(0)
    arguments = dict(embed_dim=30, depths=[1, 2], d_state=3, upsampler="pixelshuffledirect")
    return MambaIR(**(arguments | changes))


@pytest.mark.parametrize(("arguments", "parameters"), PUBLISHED)
def test_parameter_counts(arguments: dict, parameters: int) -> None:
    with torch.device("meta"):
        net = MambaIR(**arguments)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("head", HEADS)
def test_any_size(head: dict) -> None:
    net = build(**head).eval()
    for height, width in ((1, 1), (1, 9), (5, 2), (13, 4)):
        x = torch.rand(2, net.in_chans, height, width)
        with torch.no_grad():
            y = net(x)
        assert y.shape == (2, net.in_chans, height * net.upscale, width * net.upscale)
        assert torch.isfinite(y).all()


def test_scans_all_four_directions() -> None:
    """A pixel of the result depends on pixels before and after it, along rows and columns."""
    net = build(depths=[1], upsampler="", upscale=1).eval()
    scan = net.layers[0].residual_group.blocks[0].self_attention
    x = torch.rand(1, 9, 9, 30, requires_grad=True)
    scan(x)[0, 4, 4].sum().backward()
    reached = x.grad[0].abs().sum(-1) > 0
    assert reached[0, 0] and reached[0, 8] and reached[8, 0] and reached[8, 8]


@pytest.mark.parametrize("use_checkpoint", [False, True])
def test_gradients_agree_between_backends(use_checkpoint: bool) -> None:
    gradients = {}
    for name, reason in available_backends("cpu").items():
        if reason is None and name != "triton":
            net = build(use_checkpoint=use_checkpoint, scan_backend=name).train()
            for key, parameter in net.named_parameters():
                if key.endswith("attention.1.bias"):  # its ReLU would be dead by chance
                    parameter.data.fill_(1)
            torch.manual_seed(1)  # of the stochastic depth
            net(torch.linspace(0, 1, 3 * 7 * 6).view(1, 3, 7, 6)).square().mean().backward()
            gradients[name] = {key: p.grad for key, p in net.named_parameters()}
    assert {"torch", "reference"} <= set(gradients)
    for of_backend in gradients.values():
        for key, expected in gradients["reference"].items():
            assert expected.any(), key
            largest = float(expected.abs().max())
            torch.testing.assert_close(of_backend[key], expected, atol=1e-3 * largest, rtol=1e-3)


def test_stochastic_depth_grows_and_is_for_training() -> None:
    net = build(depths=[2, 3], drop_path_rate=0.2)
    drops = [block.drop_path.p for stage in net.layers for block in stage.residual_group.blocks]
    assert drops == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    x = torch.rand(8, 3, 4, 4)
    with torch.no_grad():
        assert not torch.equal(net.train()(x), net(x))
        assert torch.equal(net.eval()(x), net(x))
        still = build(depths=[2, 3], drop_path_rate=0.0).train()
        assert torch.equal(still(x), still(x))


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match="MambaIR has no argument 'd_states'.*'d_state'"):
        MambaIR(d_states=3)
    with pytest.raises(ValueError, match="drop_path_rate must be within"):
        build(drop_path_rate=1.0)
    with pytest.raises(ValueError, match="patch_size must be 1"):
        build(patch_size=2)
    with pytest.raises(ValueError, match="scan_backend must be one of"):
        build(scan_backend="fast")


def test_compile_and_export() -> None:
    net = build().eval()
    assert_compiles_and_exports(net)
