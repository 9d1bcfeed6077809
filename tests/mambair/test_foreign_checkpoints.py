"""Checkpoints as other projects write them: loaded, or refused in a line that says why."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from basicsr_mambair.cli import main
from mambair.archs import MambaIR
from mambair.archs.registry import build_network
from mambair.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_into,
    load_weights,
    save_checkpoint,
)
from mambair.inference.loading import load_network
from tests.conftest import tiny_network


def network(**changes: object) -> nn.Module:
    return build_network(tiny_network(**changes))


def assert_holds(path: Path, state: dict) -> None:
    net, _ = load_network(path)
    torch.testing.assert_close(net.state_dict(), state, rtol=0, atol=0)


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module._orig_mod.", "net_g.", "model.", "params.", "ema_model.", "a.module.b."],
)
def test_a_common_prefix_is_removed(prefix: str, tmp_path: Path) -> None:
    """Prefixes that DataParallel, torch.compile and larger modules put before the names."""
    state = network().state_dict()
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {f"{prefix}{name}": value for name, value in state.items()}}, path)
    assert_holds(path, state)
    own = network()
    load_into(own, load_weights(path)[0], path)
    torch.testing.assert_close(own.state_dict(), state, rtol=0, atol=0)


@pytest.mark.parametrize(
    "place",
    [
        ("model_state_dict",), ("net",), ("netG",), ("generator",), ("ema",), ("anything",),
        ("model", "params_ema"), ("a", "b", "c"),
    ],
)  # fmt: skip
def test_the_one_entry_with_weights_is_found(place: tuple[str, ...], tmp_path: Path) -> None:
    state = network().state_dict()
    contents: object = state
    for name in reversed(place):
        contents = {name: contents, "epoch": 3, "optimizer": {"state": {}, "lr": [0.1]}}
    torch.save(contents, tmp_path / "a.pth")
    assert_holds(tmp_path / "a.pth", state)


def test_a_prefix_that_the_network_has_stays() -> None:
    net = nn.Sequential()
    net.add_module("model", nn.Linear(2, 2))
    load_into(net, net.state_dict(), "a.pth")
    load_into(net, {f"net_g.{name}": value for name, value in net.state_dict().items()}, "a.pth")


def test_several_entries_with_weights_are_named(tmp_path: Path) -> None:
    state = {"w": torch.ones(1)}
    torch.save({"teacher": state, "student": state}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"several entries hold weights, teacher, student"):
        load_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("empty", [None, {}])
def test_an_empty_average_is_reported(empty: object, tmp_path: Path) -> None:
    state = network().state_dict()
    path = tmp_path / "a.pth"
    torch.save({"params_ema": empty, "params": state}, path)
    with pytest.warns(UserWarning, match=r"a\.pth: 'params_ema' is empty; .* 'params' are taken"):
        assert_holds(path, state)


@pytest.mark.parametrize("zipped", [False, True])
def test_harmless_objects_stored_with_weights(zipped: bool, tmp_path: Path) -> None:
    state = network().state_dict()
    contents = {
        "params": state,
        "args": argparse.Namespace(lr=np.float64(1e-4), folder=Path("runs")),
        "best": np.float32(30.5),
        "history": np.arange(3),
    }
    path = tmp_path / "a.pth"
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    assert_holds(path, state)
    assert load_checkpoint(path)["args"].lr == 1e-4


class _Config:
    """A class of somebody's training script."""


def test_other_objects_are_refused_in_a_line(tmp_path: Path) -> None:
    torch.save({"params": network().state_dict(), "config": _Config()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: holds an object of .*_Config") as raised:
        load_checkpoint(tmp_path / "a.pth")
    assert len(str(raised.value)) < 400
    assert "weights_only" not in str(raised.value)


def test_what_a_variant_has_and_lacks_is_reported(tmp_path: Path) -> None:
    """Weights that look like MambaIR's and are not."""
    state = MambaIR(embed_dim=30, depths=[1], upsampler="pixelshuffledirect").state_dict()
    state["layers.0.extra.weight"] = torch.ones(1)
    state["norm.weight"] = torch.ones(7)
    del state["norm.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as raised:
        load_network(tmp_path / "a.pth")
    message = str(raised.value)
    assert "do not fit MambaIR" in message
    assert "keys of the network that the file lacks: norm.bias" in message
    assert "keys of the file that the network lacks: layers.0.extra.weight" in message
    assert "norm.weight (7,) for (30,)" in message


@pytest.mark.parametrize("extension", ["safetensors", "pth"])
def test_export_keeps_what_no_tensor_shows(extension: str, tmp_path: Path) -> None:
    section = tiny_network(img_range=255.0, routing="argmax")
    state = network(img_range=255.0, routing="argmax").state_dict()
    save_checkpoint({"params": state, "network": section}, tmp_path / "a.pth")
    target = tmp_path / f"b.{extension}"
    result = CliRunner().invoke(main, ["export", str(tmp_path / "a.pth"), "-o", str(target)])
    assert result.exit_code == 0, result.output
    net, found = load_network(target)
    assert found == section
    assert (net.img_range, net.routing) == (255.0, "argmax")
    assert_holds(target, state)
    averaged = {"params_ema"} if extension == "pth" else set()  # readers of .pth ask for either
    assert load_checkpoint(target).keys() == {"params", "network"} | averaged
