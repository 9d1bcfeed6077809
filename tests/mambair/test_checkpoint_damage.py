"""Torn checkpoints, full disks, and weights that restore nothing.

`tests/fuzzing/test_checkpoints.py` damages bytes and contents of every kind.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.damage.checkpoints import same
from mambair import atomic
from mambair.archs.registry import build_network
from mambair.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_into,
    non_finite,
    save_checkpoint,
)
from mambair.imaging.errors import PictureError
from mambair.inference.file_to_file import restore_file
from mambair.inference.loading import load_network
from mambair.inference.restorer import Restorer
from tests.conftest import tiny_network


def contents() -> dict[str, object]:
    torch.manual_seed(0)
    tensors = {f"layer.{number}": torch.randn(50) for number in range(8)}
    return {"params": tensors, "iter": 7, "network": tiny_network()}


@pytest.mark.parametrize("kept", [0, 1, 10, 1000, -1])
def test_torn_files_are_found(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "a.state"
    save_checkpoint(contents(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"a\.state: (is|holds)"):
        load_checkpoint(path)


def test_files_without_checksums_load(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(contents(), tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(contents(), load_checkpoint(tmp_path / "a.pth"))


class _Full:
    """A disk with room for the first bytes only."""

    def __init__(self, file: object) -> None:
        self.file, self.left = file, 3000

    def write(self, data: bytes) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)  # type: ignore[attr-defined, no-any-return]

    def flush(self) -> None: ...

    def fileno(self) -> int:
        return self.file.fileno()  # type: ignore[attr-defined, no-any-return]


def test_a_full_disk_is_named_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint({"params": {}}, path)
    before, write = path.read_bytes(), atomic.write_atomically

    def on_full_disk(path: Path, contents: object) -> None:
        write(path, lambda file: contents(_Full(file)))  # type: ignore[operator]

    monkeypatch.setattr("mambair.checkpoint.writing.write_atomically", on_full_disk)
    with pytest.raises(CheckpointError, match=r"the disk is full: 2\.0 MB are needed and .* free$"):
        save_checkpoint({"params": {"x": torch.zeros(500_000)}}, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.pth"]


def test_strays_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".a.pth.x1y2.part").touch()
    (tmp_path / "a.pth").touch()
    assert [each.name for each in atomic.sweep(tmp_path)] == [".a.pth.x1y2.part"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.pth"]


def test_what_is_not_finite_is_named() -> None:
    state = {"a": torch.tensor([1.0, float("nan")]), "b": [{"c": torch.tensor(float("inf"))}, 1],
             "d": torch.tensor([1, 2]), "e": float("-inf"), "f": torch.ones(2)}  # fmt: skip
    assert non_finite(state) == ["a", "b.0.c", "e"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value: float) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    state = {name: each.clone() for name, each in net.state_dict().items()}
    state["1.bias"][0] = value
    with pytest.raises(CheckpointError, match=r"w\.pth: these weights are not finite.*: 1\.bias"):
        load_into(net, state, "w.pth")


def test_complex_weights_are_refused() -> None:
    net = nn.Linear(2, 2)
    state = {**net.state_dict(), "bias": torch.zeros(2, dtype=torch.complex64)}
    with pytest.raises(CheckpointError, match="other kinds of numbers in the file: bias complex64"):
        load_into(net, state, "w.pth")


def test_sparse_weights_are_refused() -> None:
    net = nn.Linear(2, 2)
    state = {**net.state_dict(), "bias": torch.ones(2).to_sparse()}
    with pytest.raises(CheckpointError, match="numbers in the file: bias float32 sparse_coo for"):
        load_into(net, state, "w.pth")


@pytest.mark.parametrize("weights", [{0: torch.zeros(2)}, {"params": {0: torch.zeros(2), 1: 2}}])
def test_integer_keys_are_one_sentence(weights: dict[object, object], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: no weights") as raised:
        load_network(tmp_path / "a.pth")
    assert "\n" not in str(raised.value)


def test_a_section_that_asks_for_too_much_is_refused_before_it_is_built(tmp_path: Path) -> None:
    """108 GB of parameters beside 8 numbers."""
    huge = tiny_network(embed_dim=100_000, num_heads=[1, 1])
    save_checkpoint(
        {"params": {"conv.weight": torch.zeros(8)}, "network": huge}, tmp_path / "a.pth"
    )
    with pytest.raises(CheckpointError, match=r"a\.pth: these weights do not fit MambaIRv2Light"):
        load_network(tmp_path / "a.pth")


def test_a_section_that_asks_for_too_many_layers_is_refused_before_they_are_built(
    tmp_path: Path,
) -> None:
    deep = {"type": "MSRResNet", "num_block": 10**12}
    save_checkpoint(
        {"params": {"conv.weight": torch.zeros(8)}, "network": deep}, tmp_path / "a.pth"
    )
    with pytest.raises(CheckpointError, match=r"a\.pth: .*far more layers than the file has"):
        load_network(tmp_path / "a.pth")


def test_tensors_without_numbers_are_refused(tmp_path: Path) -> None:
    torch.save({"params": {"conv.weight": torch.zeros(8, device="meta")}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: holds tensors of the device meta"):
        load_checkpoint(tmp_path / "a.pth")


def test_a_result_that_is_not_finite_is_named(tmp_path: Path) -> None:
    net = build_network(tiny_network())
    with torch.no_grad():
        net.conv_first.weight.mul_(1e38).mul_(1e38)
    picture = tmp_path / "night.png"
    cv2.imwrite(str(picture), np.full((8, 8, 3), 200, np.uint8))
    with pytest.raises(PictureError, match=r"night\.png: the network's result is not finite"):
        restore_file(Restorer(net.eval()), picture, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk at hand")
def test_what_could_not_even_be_closed_leaves_no_stray(tmp_path: Path) -> None:
    """What a file still holds in its buffer is written when it is closed, and fails once more."""

    def on_full_disk(file: BinaryIO) -> None:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, file.fileno())
        os.close(full)
        file.write(b"in the buffer")

    with pytest.raises(OSError, match="No space left"):
        atomic.write_atomically(tmp_path / "a.yml", on_full_disk)
    assert not list(tmp_path.iterdir())
