"""Checkpoints whose bytes or contents are damaged, and those that hold code."""

from __future__ import annotations

import builtins
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.damage.checkpoints import FILES, damage, read_network, strange_contents
from benchmarks.damage.child import Child
from benchmarks.damage.damaged_bytes import Damage
from mambair.checkpoint import CheckpointError, load_checkpoint
from tests.fuzzing.conftest import DAMAGES


@pytest.mark.parametrize("kind", FILES)
def test_damage_is_named(kind: str, tmp_path: Path, child: Child) -> None:
    """Files with checksums give what was written, or an error; no other one loads silently."""
    assert damage(child, kind, tmp_path, []).kind == "survived"

    @given(DAMAGES)
    def search(damages: list[Damage]) -> None:
        verdict = damage(child, kind, tmp_path, damages)
        assert verdict, verdict.said

    search()


def test_strange_contents_are_named(tmp_path: Path, child: Child) -> None:
    path = tmp_path / "strange.pth"

    @settings(max_examples=settings().max_examples * 2)
    @given(st.sampled_from(list(strange_contents())))
    def search(case: tuple[str, dict[str, Any]]) -> None:
        what, contents = case
        torch.save(contents, path)
        verdict = child.run(read_network, str(path), names=path.name)
        assert verdict, (what, verdict.said)

    search()


class Calling:
    """Is unpickled by a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("place", ["weight", "section", "metadata", "key"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        Calling(os.mkdir, "executed"),
        Calling(os.system, "mkdir executed"),
        Calling(subprocess.Popen, ["mkdir", "executed"]),
        Calling(builtins.exec, "import os; os.mkdir('executed')"),
        Calling(builtins.eval, "__import__('os').mkdir('executed')"),
        Calling(pickle.loads, pickle.dumps(Calling(os.mkdir, "executed"))),
        Calling(torch.load, "other.pth"),
    ],
    ids=["mkdir", "system", "Popen", "exec", "eval", "loads", "load"],
)
def test_code_is_not_executed(
    call: Calling,
    zipped: bool,
    protocol: int,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    state: dict[Any, Any] = {"conv.weight": torch.zeros(3)}
    contents = {
        "weight": {"params": {**state, "conv.bias": call}},
        "section": {"params": state, "network": call},
        "metadata": {"params": state, "metadata": [call]},
        "key": {"params": {**state, (call,): torch.zeros(3)}},
    }[place]
    torch.save(contents, "a.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"^a\.pth: ") as raised:
        load_checkpoint("a.pth")
    assert "\n" not in str(raised.value)
    assert not Path("executed").exists()
