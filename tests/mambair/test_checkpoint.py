"""Checkpoints: complete or as they were, and errors that say what does not fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from mambair.archs import MambaIRv2Light
from mambair.archs.registry import describe_weights
from mambair.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_into,
    load_weights,
    save_checkpoint,
)
from tests.conftest import tiny_network


def test_round_trip_keeps_tensors_and_counters(tmp_path: Path) -> None:
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    from basicsr.models.lr_scheduler import MultiStepRestartLR

    scheduler = MultiStepRestartLR(optimizer, [3, 5], 0.5)
    state = {"iter": 3, "o": [optimizer.state_dict()], "s": [scheduler.state_dict()]}
    save_checkpoint(state, tmp_path / "3.state")
    loaded = load_checkpoint(tmp_path / "3.state")
    assert loaded["iter"] == 3
    scheduler.load_state_dict(loaded["s"][0])
    assert scheduler.milestones == {3: 1, 5: 1}


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint({"params": {"x": torch.ones(2)}}, path)
    before = path.read_bytes()

    def full(contents: object, file: object) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        CheckpointError, match=r"a\.pth: .*could not be written: the disk is full: .* needed"
    ):
        save_checkpoint({"params": {}}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.pth"]


def test_written_files_are_readable_by_others(tmp_path: Path) -> None:
    save_checkpoint({}, tmp_path / "a.pth")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.pth").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "is not a PyTorch or safetensors file"),
        (b"weights of bird\n", "is not a PyTorch or safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1", ".*pointer .* Git LFS"),
        (b"PK\x03\x04 and no more", "is damaged or truncated"),
        (b"\x10" + bytes(7) + b"{and no more", "is damaged"),
    ],
)
def test_files_that_are_not_checkpoints(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: {reason}"):
        load_checkpoint(tmp_path / name)


class _Payload:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("executed",))


def test_code_in_a_checkpoint_is_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"params": _Payload()}, "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        load_checkpoint("evil.pth")
    assert not Path("executed").exists()


def test_where_weights_are_found(tmp_path: Path) -> None:
    plain = {"weight": torch.ones(1)}
    path = tmp_path / "a.pth"
    for contents, key, found in (
        ({"params": plain, "params_ema": plain}, "params", "params"),
        ({"params": plain, "params_ema": plain}, "params_ema", "params_ema"),
        ({"params": plain}, "params_ema", "params"),
        ({"state_dict": {"module.weight": torch.ones(1)}}, "params", "state_dict"),
        (plain, "params", None),
        (plain, None, None),
    ):
        torch.save(contents, path)
        weights, where = load_weights(path, key)
        assert list(weights) == ["weight"]
        assert where == found
    torch.save({"iter": 3}, path)
    with pytest.raises(CheckpointError, match=r"a\.pth: no weights under 'params'.*iter"):
        load_weights(path, "params")


def network(**changes: object) -> nn.Module:
    section = tiny_network(**changes)
    section.pop("type")
    return MambaIRv2Light(**section)


def test_what_does_not_fit_is_reported() -> None:
    weights = network(embed_dim=32).state_dict()
    with pytest.raises(CheckpointError) as raised:
        load_into(network(), weights, "other.pth", identify=describe_weights)
    message = str(raised.value)
    assert message.startswith("other.pth: these weights do not fit MambaIRv2Light")
    assert "conv_first.weight (32, 3, 3, 3) for (28, 3, 3, 3)" in message
    assert "embed_dim: 32" in message
    assert len(message.splitlines()) < 6


def test_not_strict_loads_what_fits() -> None:
    source, target = network(upscale=2), network(upscale=3)
    notes = load_into(target, source.state_dict(), "x2.pth", strict=False)
    assert torch.equal(target.conv_first.weight, source.conv_first.weight)
    assert any("upsample.0.weight" in note for note in notes)


def test_export(tmp_path: Path) -> None:
    """EMA weights of a checkpoint, alone, with the network's section."""
    from click.testing import CliRunner
    from safetensors import safe_open

    from basicsr_mambair.cli import main
    from mambair.inference.loading import load_network

    section = tiny_network()
    nets = [MambaIRv2Light(**{k: v for k, v in section.items() if k != "type"}) for _ in range(2)]
    states = [net.state_dict() for net in nets]
    save_checkpoint({"params": states[0], "params_ema": states[1], "network": section},
                    tmp_path / "net_g_latest.pth")  # fmt: skip
    arguments = ["export", str(tmp_path / "net_g_latest.pth"), "-o"]
    target = tmp_path / "tiny.safetensors"
    result = CliRunner().invoke(main, [*arguments, str(target)])
    assert result.exit_code == 0, result.output
    net, detected = load_network(target)
    assert {key: detected[key] for key in section} == section
    for name, value in net.state_dict().items():
        assert torch.equal(value, states[1][name])
    with safe_open(target, "pt") as file:
        assert json.loads(file.metadata()["network"]) == section
    CliRunner().invoke(main, [*arguments, str(target), "--raw"])
    for name, value in load_network(target)[0].state_dict().items():
        assert torch.equal(value, states[0][name])
    assert CliRunner().invoke(main, [*arguments, str(tmp_path / "tiny.bin")]).exit_code == 2
