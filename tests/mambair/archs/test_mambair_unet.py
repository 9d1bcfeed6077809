"""MambaIRUNet; its parity file is in test_parity.py, detection in test_detection.py."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import mambair
from mambair.archs import MambaIRUNet
from mambair.archs.contract import ContractError, contract_of
from mambair.complexity import measure_network
from mambair.inference.restorer import Restorer
from mambair.inference.tiles import parse_tile
from tests.conftest import photograph

SMALL = dict(dim=32, num_blocks=[1] * 4, num_refinement_blocks=1, mlp_ratio=1.5)


def build(**changes: object) -> MambaIRUNet:
    torch.manual_seed(0)
    return MambaIRUNet(**(SMALL | changes))


def test_parameters_of_the_published_network() -> None:
    with torch.device("meta"):
        net = MambaIRUNet(mlp_ratio=1.5)
    assert sum(p.numel() for p in net.parameters()) == 26_779_480


def test_names_in_the_state_dict() -> None:
    keys = set(build(bias=True, dual_pixel_task=True).state_dict())
    assert {"patch_embed.proj.weight", "down1_2.body.0.weight", "up4_3.body.0.weight"} <= keys
    assert {"reduce_chan_level3.bias", "output.bias", "skip_conv.weight", "skip_conv.bias"} <= keys
    assert not {"patch_embed.proj.bias", "down1_2.body.0.bias", "up4_3.body.0.bias"} & keys
    assert {"latent.0.skip_scale2", "refinement.0.conv_blk.cab.3.attention.1.weight"} <= keys
    assert not {key for key in build().state_dict() if key.startswith(("output.b", "skip_conv"))}


@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(channels: int) -> None:
    net = build(inp_channels=channels, out_channels=channels).eval()
    for height, width in ((1, 1), (1, 9), (5, 2), (13, 8)):
        x = torch.rand(2, channels, height, width)
        with torch.no_grad():
            y = net(x)
        assert y.shape == x.shape
        assert torch.isfinite(y).all()


def test_odd_sizes_give_what_the_published_test_gives() -> None:
    """It pads by reflection to a multiple of 8 before the network, and cuts the result."""
    net = build().eval()
    x = torch.rand(1, 3, 13, 22)
    with torch.no_grad():
        expected = net(F.pad(x, (0, 2, 0, 3), "reflect"))[..., :13, :22]
        assert torch.equal(net(x), expected)


def test_two_views() -> None:
    net = build(inp_channels=6, dual_pixel_task=True)
    x = torch.rand(2, 6, 9, 16)
    y = net(x)
    assert y.shape == (2, 3, 9, 16)
    y.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert net.skip_conv.weight.grad.any() and net.patch_embed.proj.weight.grad.any()
    with pytest.raises(ContractError, match="does not map one picture"):
        contract_of(net)


def test_checkpointing_changes_nothing() -> None:
    x = torch.rand(1, 3, 8, 16)
    gradients = []
    for use_checkpoint in (False, True):
        net = build(use_checkpoint=use_checkpoint, drop_path_rate=0.3).train()
        torch.manual_seed(1)  # of the stochastic depth
        net(x).square().mean().backward()
        gradients.append({key: p.grad for key, p in net.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient)


def test_complexity_counts_the_padded_picture() -> None:
    section = {"type": "MambaIRUNet", **SMALL}
    padded, whole = measure_network(section, 13, 22), measure_network(section, 16, 24)
    assert padded.macs == whole.macs
    assert padded.parameters == sum(p.numel() for p in build().parameters())
    # The scan: four directions of every block, at the width and the size of its level.
    scan = 0
    for side, width, blocks in ((1, 32, 1), (2, 64, 2), (4, 128, 2), (8, 256, 1), (1, 64, 2)):
        hidden = int(1.5 * width)
        scan += blocks * (16 // side) * (24 // side) * 4 * (9 * hidden * 16 + hidden)
    assert whole.macs["scan"] == scan


def test_restores_a_photograph_from_its_weights_alone(tmp_path) -> None:
    net = build()
    torch.save({"params": net.state_dict()}, tmp_path / "real.pth")
    picture = photograph(height=40, width=50)[..., ::-1]
    restored = mambair.load(tmp_path / "real.pth")(picture)
    assert restored.shape == picture.shape and restored.dtype == picture.dtype
    tiled = Restorer(net, tiling=parse_tile(32))(picture)
    assert tiled.shape == picture.shape


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="dim must be at least 30.*channel attention.*got 24"):
        build(dim=24)
    with pytest.raises(ValueError, match="dim must be even"):
        build(dim=31)
    with pytest.raises(ValueError, match="num_blocks must be 4 numbers"):
        build(num_blocks=[1, 1])
    with pytest.raises(ValueError, match="num_blocks must be at least 1"):
        build(num_blocks=[1, 0, 1, 1])
    with pytest.raises(ValueError, match="out_channels must be inp_channels, 3, got 1"):
        build(out_channels=1)
    with pytest.raises(ValueError, match="drop_path_rate must be within"):
        build(drop_path_rate=1.0)
    with pytest.raises(ValueError, match="scan_backend must be one of"):
        build(scan_backend="fast")
    with pytest.raises(TypeError, match="MambaIRUNet has no argument 'num_block'.*'num_blocks'"):
        build(num_block=[1] * 4)
