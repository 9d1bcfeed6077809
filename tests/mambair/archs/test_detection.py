"""Every hyper-parameter comes back from the tensors, without any published weights."""

from __future__ import annotations

import pytest
import torch

from mambair.archs import MambaIR, MambaIRv2, MambaIRv2Light
from mambair.archs.registry import DetectionError, build_network, detect_network
from tests.conftest import read_golden, tiny_network

CHANGES = [
    {},
    dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=1),
    dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=2),
    dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=3),
    dict(type="MambaIRv2", upsampler="pixelshuffle", upscale=8),
    dict(type="MambaIRv2", upsampler="nearest+conv", upscale=4),
    dict(type="MambaIRv2", upsampler="", upscale=1, in_chans=1),
    dict(type="MambaIRv2", upsampler="", upscale=1, convffn_kernel_size=7),
    dict(upscale=1),
    dict(upscale=3),
    dict(upscale=4, in_chans=1),
    dict(depths=[2, 1, 3], num_heads=[2, 4, 7]),
    dict(embed_dim=30, num_heads=[3, 5], mlp_ratio=1.2),
    dict(d_state=5, window_size=6, inner_rank=3, num_tokens=9),
    dict(qkv_bias=False, patch_norm=False, resi_connection="3conv", convffn_kernel_size=3),
    dict(ape=True, img_size=12),
]


CHANGES_V1 = [
    {},
    dict(upsampler="pixelshuffle", upscale=4, mlp_ratio=1.2),
    dict(upsampler="pixelshuffle", upscale=3, resi_connection="3conv", patch_norm=False),
    dict(upsampler="pixelshuffledirect", upscale=3, d_state=5),
    dict(upsampler="", upscale=1, in_chans=1, depths=[2, 1, 3]),
]
CHANGES_UNET = [
    {},
    dict(num_blocks=[2, 1, 3, 1], num_refinement_blocks=2, bias=True),
    dict(dim=34, mlp_ratio=1.49, inp_channels=1, out_channels=1),  # rounded down on every level
    dict(inp_channels=6, dual_pixel_task=True),
]
CHANGES_UNET_V2 = [
    {},
    dict(num_heads=[3, 2, 5, 6], window_size=[2, 6, 3, 1], num_tokens=[9, 7, 3, 2]),
    dict(inner_rank=[1, 2, 3, 4], d_state=5, convffn_kernel_size=3, qkv_bias=False),
    dict(dim=34, num_heads=[2, 2, 2, 2], mlp_ratio=1.49),
]
SECTIONS = [tiny_network(**change) for change in CHANGES] + [
    {"type": "MambaIR", "embed_dim": 30, "depths": [1, 2], "d_state": 2, "mlp_ratio": 2.0} | change
    for change in CHANGES_V1
]
SMALL_UNET = dict(type="MambaIRUNet", dim=30, num_blocks=[1] * 4, num_refinement_blocks=0)


@pytest.mark.parametrize("section", SECTIONS)
def test_round_trip(section: dict) -> None:
    classes = {cls.__name__: cls for cls in (MambaIR, MambaIRv2, MambaIRv2Light)}
    arguments = {key: value for key, value in section.items() if key != "type"}
    net = classes[section["type"]](**arguments)
    detected = detect_network(net.state_dict())
    section = section | {"upscale": net.upscale}  # 2 without upsampler means 1
    for key, value in section.items():
        if key == "mlp_ratio":
            assert int(section["embed_dim"] * detected[key]) == int(section["embed_dim"] * value)
        else:
            assert detected[key] == value, key
    rebuilt = classes[detected.pop("type")](**detected)
    rebuilt.load_state_dict(net.state_dict(), strict=True)
    x = torch.rand(1, section.get("in_chans", 3), 6, 5)
    with torch.no_grad():
        assert torch.equal(rebuilt.eval()(x), net.eval()(x))


@pytest.mark.parametrize("change", CHANGES_UNET)
def test_round_trip_of_the_unet(change: dict) -> None:
    section = SMALL_UNET | change
    net = build_network(section)
    detected = detect_network(net.state_dict())
    for key in section.keys() - {"mlp_ratio"}:
        assert detected[key] == section[key], key
    rebuilt = build_network(detected)
    rebuilt.load_state_dict(net.state_dict(), strict=True)
    x = torch.rand(1, section.get("inp_channels", 3), 6, 5)
    with torch.no_grad():
        assert torch.equal(rebuilt.eval()(x), net.eval()(x))


@pytest.mark.parametrize(
    "name",
    [
        "car_gray",
        "classic_x4",
        "denoise_color",
        "light_x2",
        "mambair_x2",
        "mambairunet",
        "realworld_x4",
    ],
)
def test_golden_files(name: str) -> None:
    golden = read_golden(name)
    detected = detect_network(golden.state())
    assert detected["type"] == golden.arch
    for key, value in golden.config.items():
        if key not in ("img_size", "img_range"):
            assert detected[key] == value, key


def test_other_weights() -> None:
    with pytest.raises(DetectionError, match="not weights of MambaIR, "):
        detect_network(torch.nn.Conv2d(3, 3, 3).state_dict())
    state = MambaIRv2(depths=[1], num_heads=[4], window_size=4).state_dict()
    del state["layers.0.residual_group.layers.0.convffn1.fc1.weight"]
    with pytest.raises(DetectionError, match="incomplete.*fc1"):
        detect_network(state)
