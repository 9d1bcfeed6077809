"""Counts against counts by hand, and against the published figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from basicsr_mambair.cli import main
from basicsr_mambair.options import load_options
from mambair.complexity import measure_network
from tests.conftest import ROOT

FOLDER = ROOT / "options" / "test"


def section(name: str) -> dict:
    return load_options(FOLDER / f"{name}.yml", is_train=False, check_files=False)["network_g"]


def test_light_by_hand() -> None:
    """MambaIRv2Light ×2 on 16×24 pixels, padded to 16×32; every term of the network."""
    tokens, C, E, w, T, N, R = 16 * 32, 48, 48, 16, 64, 8, 3
    block = {
        "linear": C * 3 * C + C * C  # wqkv, proj
        + 2 * (C * E + E // 2 * C)  # fc1 and fc2 of both FFNs
        + C * (C // 3) + C // 3 * T  # route
        + E * (R + 2 * N) + R * E  # x_proj, dt_proj
        + E * C,  # out_proj
        "convolution": 2 * 25 * E // 2 + C * E + 9 * E,  # gates, in_proj (1×1), CPE
        "attention": 2 * w * w * C,
        "scan": 9 * E * N + E,
    }  # fmt: skip
    around = 9 * 3 * C + 5 * 9 * C * C + 9 * C * 12  # first; four stages and after; upsampling
    by_hand = {kind: tokens * 20 * count for kind, count in block.items()}
    by_hand["convolution"] += tokens * around
    dictionary = 20 * T * 32 * N
    cost = measure_network(section("mambairv2_light_x2"), 16, 24)
    # The kernels take the 1×1 convolution as a linear layer; either name is right.
    assert cost.macs["attention"] == by_hand["attention"]
    assert cost.macs["scan"] == by_hand["scan"]
    assert cost.total_macs == sum(by_hand.values()) + dictionary
    norms = 20 * (4 * C + 2 * E // 2 + E) + 2 * C
    assert cost.published_extra == {
        "LayerNorm": 5 * tokens * norms,
        "one-hot product": 20 * tokens * T * N,
    }
    assert cost.parameters == 774_092


def test_mambair_by_hand() -> None:
    arguments = dict(embed_dim=60, depths=[2], d_state=10, mlp_ratio=1.2, upscale=2,
                     upsampler="pixelshuffledirect")  # fmt: skip
    cost = measure_network({"type": "MambaIR", **arguments}, 5, 7)
    tokens, C, E, N, R = 35, 60, 72, 10, 4
    linear = C * 2 * E + 4 * E * (R + 2 * N) + 4 * R * E + E * C
    cab = C * (C // 2) * 2 + 9 * (C // 2) + 9 * C
    attention = 2 * C * (C // 30)  # of channels: once a picture
    assert cost.macs["linear"] == 2 * tokens * linear
    assert cost.macs["attention"] == 0
    assert cost.macs["scan"] == 2 * tokens * 4 * E * (9 * N + 1)
    assert cost.macs["convolution"] == 2 * (tokens * (9 * E + cab) + attention) + tokens * (
        9 * 3 * C + 2 * 9 * C * C + 9 * C * 12
    )


@pytest.mark.parametrize(
    ("name", "height", "width", "published"),
    [
        ("mambairv2_light_x2", 360, 640, 286.3),
        ("mambairv2_light_x3", 240, 426, 126.7),
        ("mambairv2_light_x4", 180, 320, 75.6),
    ],
)
def test_published_figures(name: str, height: int, width: int, published: float) -> None:
    cost = measure_network(section(name), height, width)
    assert round(cost.published_macs / 1e9, 1) == published
    assert cost.total_macs == cost.published_macs - sum(cost.published_extra.values())


def test_memory_of_a_known_network() -> None:
    """SRVGGNetCompact: convolutions and PReLU, of which every tensor is known."""
    network = {"type": "SRVGGNetCompact", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4,
               "num_conv": 1, "upscale": 2, "act_type": "prelu"}  # fmt: skip
    cost = measure_network(network, 8, 8)
    small, wide, large = 8 * 8 * 3 * 4, 8 * 8 * 4 * 4, 16 * 16 * 3 * 4
    # Kept: input, two activations before and after PReLU.
    assert cost.training_bytes == small + 4 * wide
    # Alive at most: the shuffled output, the enlarged input, and their sum (or less).
    assert 2 * large <= cost.inference_bytes <= 3 * large
    assert cost.macs["convolution"] == 64 * (27 * 4 + 36 * 4 + 36 * 12)


def test_a_network_whose_constructor_looks_at_its_values() -> None:
    """BasicSR's SwinIR: SwinIR-light ×2, 910,152 parameters, and 4 · w² · C of attention in all."""
    network = {"type": "SwinIR", "upscale": 2, "img_size": 16, "window_size": 8, "embed_dim": 60,
               "depths": [6] * 4, "num_heads": [6] * 4, "mlp_ratio": 2, "in_chans": 3,
               "upsampler": "pixelshuffledirect"}  # fmt: skip
    cost = measure_network(network, 16, 16)
    assert cost.parameters == 910_152
    assert cost.macs["attention"] == 24 * 16 * 16 * 2 * 8 * 8 * 60


def test_checkpointing_keeps_less() -> None:
    base = {"type": "MambaIRv2Light", "depths": [3], "num_heads": [4], "upscale": 2,
            "upsampler": "pixelshuffledirect", "mlp_ratio": 1.0}  # fmt: skip
    kept = [measure_network({**base, "use_checkpoint": c}, 32, 32).training_bytes
            for c in (False, True)]  # fmt: skip
    assert kept[1] < 0.5 * kept[0]


def test_command() -> None:
    path = FOLDER / "mambairv2_light_x2.yml"
    result = CliRunner().invoke(main, ["complexity", "-opt", str(path)])
    assert result.exit_code == 0, result.output
    assert "286.298 G" in result.output and "774,092" in result.output
    result = CliRunner().invoke(
        main, ["complexity", "-opt", str(path), "--input-size", "64x32", "--json"]
    )
    (row,) = json.loads(result.output)
    assert row["input"] == "64x32"
    assert row["MACs"] == measure_network(section("mambairv2_light_x2"), 32, 64).total_macs
    result = CliRunner().invoke(main, ["complexity", "-opt", str(path), "--output-size", "big"])
    assert result.exit_code == 2
    assert "must be WIDTHxHEIGHT, got 'big'" in result.output


def test_no_memory_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least, got 0×5"):
        measure_network(section("mambairv2_light_x2"), 0, 5)
    assert torch.empty(0).device.type == "cpu"  # the default device is as it was
