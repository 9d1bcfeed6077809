"""TensorBoard and wandb: a run that was stopped and resumed is one run there."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basicsr_mambair.runs.tracking import TrackingError
from tests.basicsr_mambair.training.runs import Runs, contents, folder_for


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder: step and value by tag."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    shown = accumulators.EventAccumulator(str(folder))
    shown.Reload()
    return {
        tag: [(each.step, each.value) for each in shown.Scalars(tag)]
        for tag in shown.Tags()["scalars"]
    }


@pytest.mark.parametrize("frequency", [3, 4])  # of saving: 4 is also that of validating
def test_tensorboard_goes_on_in_the_same_run(frequency: int, pairs: Path) -> None:
    pytest.importorskip("tensorboard")
    changes = {"logger__save_checkpoint_freq": frequency, "logger__use_tb_logger": True}
    whole, parts = (Runs(folder_for(pairs, name)) for name in ("whole", "parts"))
    whole.train(contents(**changes))
    parts.train(contents(**changes), stop_after=6)
    parts.train(contents(**changes), resume=True)
    expected, found = (events(runs.folder / "tb_logger" / "run") for runs in (whole, parts))
    assert [step for step, _ in expected["losses/l_pix"]] == list(range(1, 10))
    assert [step for step, _ in expected["metrics/val/psnr"]] == [4, 8, 9]
    assert {"lr", "speed/images_per_second"} <= expected.keys()
    for tag in ("losses/l_pix", "metrics/val/psnr", "lr"):
        assert found[tag] == expected[tag], tag


def records(file: Path) -> Iterator[Any]:
    """The records of a file of wandb, which has LevelDB's log format after seven bytes."""
    pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    data, at, whole = file.read_bytes(), 7, b""
    block = 1 << 15
    while at + 7 <= len(data):
        if block - at % block < 7:  # no header fits into the rest of a block
            at += block - at % block
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a record that is whole, or the end of one
            record = pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def finished(file: Path) -> list[int]:
    """The exit status in a file of wandb, whose own process writes it a moment later."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for record in records(file):
            if record.WhichOneof("record_type") == "exit":
                return [record.exit.exit_code]
        time.sleep(0.1)
    return []


def history(file: Path, key: str) -> list[tuple[int, float]]:
    """Step and value of a scalar in a file of wandb."""
    found = []
    for record in records(file):
        if record.WhichOneof("record_type") == "history":
            items = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            if key in items:
                found.append((items["_step"], items[key]))
    return found


def test_wandb_goes_on_in_the_same_run(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key in the option file is all; offline, every leg has a file of the same run."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    runs = Runs(pairs)
    options = contents(logger__wandb={"project": "mine"})
    runs.train(options, stop_after=5)
    number = (runs.own / "wandb_id").read_text().strip()
    runs.train(options, resume=True)
    assert (runs.own / "wandb_id").read_text().strip() == number
    first, second = sorted((runs.own / "wandb").glob(f"offline-run-*-{number}/*.wandb"))
    assert (finished(first), finished(second)) == ([1], [0])
    assert [step for step, _ in history(first, "losses/l_pix")] == [1, 2, 3, 4]
    expected = [(i, runs.losses[i]["l_pix"]) for i in range(4, 10)]
    assert history(second, "losses/l_pix") == expected
    expected = [(i, runs.figures[i]["psnr"]) for i in (4, 8, 9)]
    assert history(second, "metrics/val/psnr") == expected
    begun, *_ = (r.run for r in records(second) if r.WhichOneof("record_type") == "run")
    assert (begun.run_id, begun.project, begun.display_name) == (number, "mine", "run")
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["train"]["optim_g"] == {"type": "Adam", "lr": 1e-3}


def test_wandb_without_an_account(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    def init(**arguments: Any) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(TrackingError, match=r"^logger\.wandb\.project: wandb cannot begin: No API"):
        Runs(pairs).train(contents(logger__wandb={"project": "mine"}))
