"""MambaIRv2UNet; detection is in test_detection.py, the laws of networks in test_registry.py."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import mambair
from mambair.archs import MambaIRUNet, MambaIRv2UNet
from mambair.archs.mambairv2_blocks import AttentiveBlock
from mambair.checkpoint import save_checkpoint
from mambair.complexity import measure_network
from mambair.inference.restorer import Restorer
from mambair.inference.tiles import parse_tile
from mambair.ops import native
from tests.conftest import photograph

SMALL = dict(
    dim=12, num_blocks=[1] * 4, num_refinement_blocks=1, num_tokens=[8, 4, 4, 4],
    inner_rank=[4] * 4, d_state=4,
)  # fmt: skip


def build(**changes: object) -> MambaIRv2UNet:
    torch.manual_seed(0)
    return MambaIRv2UNet(**(SMALL | changes))


def blocks_of(net: MambaIRv2UNet) -> dict[str, AttentiveBlock]:
    return {name: each for name, each in net.named_modules() if isinstance(each, AttentiveBlock)}


def test_is_no_larger_than_the_published_unet() -> None:
    ours = measure_network({"type": "MambaIRv2UNet"}, 256, 256)
    published = measure_network({"type": "MambaIRUNet", "mlp_ratio": 1.5}, 256, 256)
    assert ours.parameters == 25_942_360 < published.parameters
    assert ours.total_macs < published.total_macs


def test_shares_the_frame_of_the_published_unet() -> None:
    """Everything but the blocks has the same names and shapes."""

    def outside_blocks(net: torch.nn.Module) -> dict[str, torch.Size]:
        levels = ("encoder", "decoder", "latent", "refinement")
        return {k: v.shape for k, v in net.state_dict().items() if not k.startswith(levels)}

    sizes = dict(dim=32, num_blocks=[1] * 4, num_refinement_blocks=1, bias=True)
    assert outside_blocks(build(**sizes)) == outside_blocks(MambaIRUNet(**sizes))


def test_windows_prompts_and_heads_of_every_level() -> None:
    blocks = blocks_of(build(window_size=[8, 6, 4, 2], num_heads=[1, 2, 3, 4]))
    found = {
        name: (b.win_mhsa.window_size, b.assm.num_tokens, b.win_mhsa.num_heads, b.wqkv.in_features)
        for name, b in blocks.items()
    }
    assert found == {
        "encoder_level1.0": (8, 8, 1, 12),
        "encoder_level2.0": (6, 4, 2, 24),
        "encoder_level3.0": (4, 4, 3, 48),
        "latent.0": (2, 4, 4, 96),
        "decoder_level3.0": (4, 4, 3, 48),
        "decoder_level2.0": (6, 4, 2, 24),
        "decoder_level1.0": (8, 8, 2, 24),  # twice as wide
        "refinement.0": (8, 8, 2, 24),
    }


def test_windows_alternate_along_the_way_of_a_picture() -> None:
    """With one block in each part, the decoder's windows are those that the encoder's were not."""
    shifts = {name: block.shift for name, block in blocks_of(build()).items()}
    assert shifts == {
        "encoder_level1.0": 0, "encoder_level2.0": 0, "encoder_level3.0": 0, "latent.0": 0,
        "decoder_level3.0": 4, "decoder_level2.0": 4, "decoder_level1.0": 4, "refinement.0": 0,
    }  # fmt: skip
    two = blocks_of(build(num_blocks=[1, 1, 1, 2]))
    assert (two["latent.0"].shift, two["latent.1"].shift) == (0, 2)


def test_every_block_draws_its_own_noise() -> None:
    indices = [
        block.assm.block_index for block in blocks_of(build(num_blocks=[1, 2, 1, 2])).values()
    ]
    assert sorted(indices) == list(range(len(indices)))


@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(channels: int) -> None:
    net = build(inp_channels=channels, out_channels=channels).eval()
    for height, width in ((1, 1), (1, 9), (5, 2), (37, 32)):
        x = torch.rand(2, channels, height, width)
        with torch.no_grad():
            y = net(x)
        assert y.shape == x.shape
        assert torch.isfinite(y).all()


def test_pads_until_every_level_divides_into_windows() -> None:
    assert build().padded_to == 32
    assert build(window_size=[8, 8, 8, 8]).padded_to == 64
    assert build(window_size=[3, 1, 1, 1]).padded_to == 24
    net = build().eval()
    x = torch.rand(1, 3, 21, 40)
    with torch.no_grad():
        expected = net(F.pad(x, (0, 24, 0, 11), "reflect"))[..., :21, :40]
        assert torch.equal(net(x), expected)


def test_the_same_picture_gives_the_same_result_in_any_batch() -> None:
    net = build().eval()
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        state = torch.get_rng_state()
        torch.testing.assert_close(net(x)[1:2], net(x[1:2]))
        assert torch.equal(torch.get_rng_state(), state)
        sampled = net(x)
        net.set_routing("argmax")
        assert not torch.equal(net(x), sampled)


def test_parts_of_a_batch_draw_the_noise_of_the_whole() -> None:
    net = build().train()
    net.set_training_noise("fused")
    x = torch.rand(2, 3, 32, 32)
    net.place_training_noise(7, 0)
    whole = net(x)
    for first in (0, 1):
        net.place_training_noise(7, first)
        torch.testing.assert_close(net(x[first : first + 1])[0], whole[first])


@pytest.mark.skipif(not native.AVAILABLE, reason="the kernels were not built")
def test_kernels_of_whole_blocks_agree_with_layers() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 32, 64)
    outputs, gradients = [], []
    for backend in ("auto", "reference"):
        net = build(scan_backend=backend, routing="argmax")
        for block in blocks_of(net).values():  # at their initial values, blocks hardly do anything
            torch.nn.init.ones_(block.scale1)
            torch.nn.init.ones_(block.scale2)
        outputs.append(net.eval()(x))
        outputs[-1].square().mean().backward()
        gradients.append(
            {name: p.grad for name, p in net.named_parameters() if "route" not in name}
        )
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-4 * float(outputs[1].abs().max()))
    for name, expected in gradients[1].items():
        if expected is None:  # routes without noise have no gradient
            assert gradients[0][name] is None and ".route." in name
            continue
        largest = float(expected.abs().max())
        torch.testing.assert_close(
            gradients[0][name], expected, rtol=0, atol=1e-3 * largest, msg=name
        )


def test_two_views() -> None:
    net = build(inp_channels=6, dual_pixel_task=True)
    y = net(torch.rand(2, 6, 9, 16))
    assert y.shape == (2, 3, 9, 16)
    y.square().mean().backward()
    assert net.skip_conv.weight.grad is not None and net.skip_conv.weight.grad.any()


def test_checkpointing_changes_nothing() -> None:
    x = torch.rand(1, 3, 32, 32)
    gradients = []
    for use_checkpoint in (False, True):
        net = build(use_checkpoint=use_checkpoint).train()
        torch.manual_seed(1)  # of the routing
        net(x).square().mean().backward()
        gradients.append({key: p.grad for key, p in net.named_parameters()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient)


def test_complexity_counts_every_level_at_its_size() -> None:
    section = {"type": "MambaIRv2UNet", **SMALL}
    padded, whole = measure_network(section, 33, 50), measure_network(section, 64, 64)
    assert padded.macs == whole.macs and padded.published_extra == whole.published_extra
    assert padded.parameters == sum(p.numel() for p in build().parameters())
    scan = attention = one_hot = 0
    levels = (
        # side of a pixel, channels, blocks, window, classes
        (1, 12, 1, 8, 8), (2, 24, 2, 8, 4), (4, 48, 2, 8, 4), (8, 96, 1, 4, 4), (1, 24, 2, 8, 8),
    )  # fmt: skip
    for side, width, blocks, window, classes in levels:
        tokens = blocks * (64 // side) ** 2
        hidden = int(1.5 * width)
        scan += tokens * (9 * hidden * 4 + hidden)
        attention += tokens * 2 * window**2 * width
        one_hot += tokens * classes * 4
    assert whole.macs["scan"] == scan
    assert whole.macs["attention"] == attention
    assert whole.published_extra["one-hot product"] == one_hot


def test_restores_a_photograph_from_its_weights_alone(tmp_path) -> None:
    net = build()
    save_checkpoint({"params": net.state_dict()}, tmp_path / "camera.pth")
    picture = photograph(height=40, width=50)[..., ::-1]
    restored = mambair.load(tmp_path / "camera.pth")(picture)
    assert restored.shape == picture.shape and restored.dtype == picture.dtype
    tiled = Restorer(net, tiling=parse_tile(32))(picture)
    assert tiled.shape == picture.shape


def test_arguments_that_do_not_fit() -> None:
    for name in ("num_heads", "window_size", "num_tokens", "inner_rank", "num_blocks"):
        with pytest.raises(ValueError, match=f"{name} must be 4 numbers, one a level"):
            build(**{name: [2, 2]})
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            build(**{name: [1, 0, 1, 1]})
    with pytest.raises(ValueError, match="num_heads 5 of level 2 does not divide its 24 channels"):
        build(num_heads=[2, 5, 2, 2])
    with pytest.raises(ValueError, match="convffn_kernel_size must be odd, got 4"):
        build(convffn_kernel_size=4)
    with pytest.raises(ValueError, match="routing must be 'sampled' or 'argmax'"):
        build(routing="best")
    with pytest.raises(TypeError, match="MambaIRv2UNet has no argument 'num_token'.*'num_tokens'"):
        build(num_token=[8] * 4)
