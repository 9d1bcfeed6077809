"""Damaged checkpoints, and those whose contents are no network's."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.damage.child import Child, Verdict, count
from benchmarks.damage.damaged_bytes import Damage, apply_all, draw
from benchmarks.damage.outcome import Outcome
from tests.conftest import tiny_network

QUICK, FULL = 150, 15_000
NETWORK = tiny_network()
#: Values that no option means, as those of a file written by another program or by mistake.
STRANGE: dict[str, Any] = {
    "null": None, "negative": -3, "zero": 0, "huge": 10**12, "nan": math.nan, "inf": math.inf,
    "text": "seven", "text of a truth value": "false", "list": [1, "x"],
    "nested": {"a": {"b": 1}}, "true": True, "fraction": 0.37, "empty text": "",
}  # fmt: skip


def _state() -> dict[str, torch.Tensor]:
    from mambair.archs.registry import build_network

    torch.manual_seed(0)
    return build_network(NETWORK).state_dict()


def _write_pth(path: Path) -> None:
    from mambair.checkpoint import save_checkpoint

    save_checkpoint({"params": _state(), "params_ema": _state(), "network": NETWORK}, path)


def _write_state(path: Path) -> None:
    from mambair.checkpoint import save_checkpoint

    moments = {number: {"exp_avg": torch.randn(20), "step": 3} for number in range(4)}
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-3, "params": [0, 1, 2, 3]}]}
    save_checkpoint({"iter": 7, "epoch": 1, "optimizers": [optimizer], "schedulers": []}, path)


def _write_safetensors(path: Path) -> None:
    from mambair.checkpoint import save_safetensors

    save_safetensors(_state(), path, {"network": NETWORK})


def _write_foreign_safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file(_state(), path)


def _write_pth_without_sums(path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"params": _state()}, path)
    finally:
        torch.serialization.set_crc32_options(True)


def _write_old_pth(path: Path) -> None:
    torch.save({"params": _state()}, path, _use_new_zipfile_serialization=False)


#: By what they are: the name of the file, how it is written, and whether a change can be told.
FILES: dict[str, tuple[str, Callable[[Path], None], bool]] = {
    "weights": ("a.pth", _write_pth, True),
    "training state": ("a.state", _write_state, True),
    "safetensors": ("a.safetensors", _write_safetensors, True),
    "safetensors of another program": ("b.safetensors", _write_foreign_safetensors, False),
    "weights without checksums": ("b.pth", _write_pth_without_sums, False),
    "weights of torch 1.5": ("c.pth", _write_old_pth, False),
}


#: By what is damaged: what it goes on as if it is spliced. A zip file is read from its end, so one
#: that ends as another is that other, whole; the others are of another container.
OTHERS = {
    kind: "safetensors of another program" if name.startswith("a.") and name != "a.safetensors"
    else "weights without checksums"
    for kind, (name, _, _) in FILES.items()
}  # fmt: skip


def same(first: Any, second: Any) -> bool:
    """Returns whether the contents of two checkpoints are the same."""
    if torch.is_tensor(first):
        return torch.is_tensor(second) and torch.equal(first, second)
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(same(value, second[key]) for key, value in first.items())
        )
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def read(path: str, *wholes: str) -> None:
    """Reads a checkpoint, and loads its network.

    Args:
        path: the file.
        wholes: files of which it must be one if it can be read: a splice near the beginning may
            leave all of the other; none: nothing tells.

    Raises:
        AssertionError: a change has gone unnoticed.
    """
    from mambair.checkpoint import load_checkpoint
    from mambair.inference.loading import load_network

    contents = load_checkpoint(path)
    if wholes and not any(same(contents, load_checkpoint(each)) for each in wholes):
        raise AssertionError("a change has gone unnoticed")
    if not path.endswith(".state"):
        load_network(path)


def damage(child: Child, kind: str, folder: Path, damages: list[Damage]) -> Verdict:
    """Damages a checkpoint, and reads it in a process of its own."""
    whole, other = (_whole(each, folder / "whole") for each in (kind, OTHERS[kind]))
    name, _, is_told = FILES[kind]
    path = folder / name
    path.write_bytes(apply_all(damages, whole.read_bytes(), other.read_bytes()))
    wholes = (str(whole), str(other)) if is_told else ()
    return child.run(read, str(path), *wholes, names=name)


def _whole(kind: str, folder: Path) -> Path:
    name, write, _ = FILES[kind]
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / name)
    return folder / name


def strange_contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Contents that do not make sense, by what is strange about them."""
    state = _state()
    first = next(iter(state))
    for key in NETWORK:
        for what, value in STRANGE.items():
            yield f"{key}: {what}", {"params": state, "network": {**NETWORK, key: value}}
    for what, value in STRANGE.items():
        yield f"section: {what}", {"params": state, "network": value}
        yield f"params: {what}", {"params": value, "network": NETWORK}
        yield f"a weight: {what}", {"params": {**state, first: value}, "network": NETWORK}
        yield f"a key: {what}", {"params": {str(value): state[first], **state}, "network": NETWORK}
    yield "integer keys", {"params": {0: state[first], 1: state[first]}, "network": NETWORK}
    one = state[first]
    for what, tensor in {
        "complex": one.to(torch.complex64), "integers": one.to(torch.int32),
        "truth values": one > 0, "half": one.half(), "float64": one.double(),
        "not a number": one * math.nan, "infinite": one * math.inf, "transposed": one.mT,
        "empty": one[:0], "one more axis": one[None], "scalar": one.sum(),
        "sparse": one.reshape(len(one), -1).to_sparse(),
        "expanded": one[:1].expand(2**40, *one.shape[1:]),
        "without data": one.to("meta"),
    }.items():  # fmt: skip
        yield f"a weight: {what}", {"params": {**state, first: tensor}, "network": NETWORK}
        yield f"a weight alone: {what}", {"params": {**state, first: tensor}}


def read_network(path: str) -> None:
    """Loads the network of a file."""
    from mambair.inference.loading import load_network

    load_network(path)


def provoke(budget: int, seed: int, folder: Path) -> list[Outcome]:
    """See :class:`benchmarks.damage.outcome.Provoke`."""
    rng = random.Random(seed)
    outcomes = []
    with Child() as child:
        for kind in FILES:
            outcomes.append(
                Outcome(f"{kind}: bytes cut, changed, lost, doubled or of another file")
            )
            for _ in range(max(1, budget // len(FILES))):
                damages = draw(rng)
                count(outcomes[-1], damage(child, kind, folder, damages), str(damages))
        outcomes.append(Outcome("checkpoints whose section, keys or weights are strange"))
        path = folder / "strange.pth"
        for what, contents in strange_contents():
            torch.save(contents, path)
            count(outcomes[-1], child.run(read_network, str(path), names=path.name), what)
    return outcomes
