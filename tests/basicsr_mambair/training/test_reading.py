"""Samples that cannot be read, workers that die, folders that are closed: one sentence."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from basicsr_mambair.options.errors import OptionError
from basicsr_mambair.training.loaders import SampleError, WorkerDiedError
from basicsr_mambair.training.pipeline import RunFolderError
from tests.basicsr_mambair.training.runs import Runs, contents


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["DegradedImageDataset", "PairedImageDataset"])
def test_a_picture_smaller_than_the_crop(kind: str, workers: int, pairs: Path) -> None:
    """Where headers were not looked at: the picture is replaced after the checks."""
    options = contents(datasets__train__num_worker_per_gpu=workers)
    section = options["datasets"]["train"]
    if kind == "PairedImageDataset":
        del section["degradation"]
        section |= {"type": kind, "dataroot_lq": "LR", "filename_tmpl": "{}x2"}
        options["model_type"] = "SRModel"  # others mean MambaIR's class
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("basicsr_mambair.options.surroundings._check_crop", lambda *_: None)
        for folder, end, side in (("HR", "", 12), ("LR", "x2", 6)):
            path = pairs / folder / f"coffee{end}.png"
            cv2.imwrite(str(path), np.zeros((side, side, 3), np.uint8))
        with pytest.raises(SampleError, match="coffee") as raised:
            Runs(pairs).train(options)
    assert "\n" not in str(raised.value) and "Traceback" not in str(raised.value)


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["DegradedImageDataset", "PairedImageDataset", "MambaIRPaired"])
def test_pictures_that_cannot_be_read_are_skipped(
    kind: str, workers: int, pairs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = contents(
        total=8, datasets__train__num_worker_per_gpu=workers, datasets__train__on_bad_image="skip"
    )
    section = options["datasets"]["train"]
    if kind != "DegradedImageDataset":
        del section["degradation"]
        section |= {"type": "PairedImageDataset", "dataroot_lq": "LR", "filename_tmpl": "{}x2"}
        options["model_type"] = "SRModel" if kind == "PairedImageDataset" else "RestorationModel"
    del options["datasets"]["val"]
    spoil(pairs / "HR" / "coffee.png")
    cv2.imwrite(str(pairs / "HR" / "astronaut.png"), np.zeros((12, 12, 3), np.uint8))
    cv2.imwrite(str(pairs / "LR" / "astronautx2.png"), np.zeros((6, 6, 3), np.uint8))
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    try:
        run = Runs(pairs)
        run.train(options)
    finally:
        logger.removeHandler(caplog.handler)
    assert run.end()["state"]["iter"] == 8
    named = [line for line in caplog.messages if line.startswith("skipped, the next picture")]
    assert len(named) == 2, "the damaged one, and the one that is smaller than a crop"
    assert all(any(name in line for line in named) for name in ("coffee", "astronaut")), named
    (total,) = (line for line in caplog.messages if "samples took the place of pictures" in line)
    assert "(2, named above)" in total and int(total.split()[0]) > 0


@pytest.mark.parametrize("damage", [b"", b"no picture"])
def test_a_damaged_picture_is_named_where_basicsr_reads(damage: bytes, pairs: Path) -> None:
    section = {"type": "PairedImageDataset", "dataroot_lq": "LR", "filename_tmpl": "{}x2"}
    options = contents(model_type="SRModel")
    options["datasets"]["train"] |= section
    del options["datasets"]["train"]["degradation"], options["datasets"]["val"]
    (pairs / "LR" / "coffeex2.png").write_bytes(damage)
    with pytest.raises(SampleError, match=r"coffeex2\.png or .*: cannot be read: not a"):
        Runs(pairs).train(options)


def test_a_validation_skips_nothing(pairs: Path) -> None:
    with pytest.raises(OptionError, match=r"datasets\.val\.on_bad_image: .*skip is for a training"):
        Runs(pairs).train(contents(datasets__val__on_bad_image="skip"))


def test_a_run_without_any_picture_that_can_be_read_ends(pairs: Path) -> None:
    options = contents(datasets__train__on_bad_image="skip", datasets__train__num_worker_per_gpu=0)
    for path in (pairs / "HR").glob("*.png"):
        spoil(path)
    del options["datasets"]["val"]
    with pytest.raises(SampleError, match="no picture of the data set can be read; the last: "):
        Runs(pairs).train(options)


def test_a_worker_that_dies_is_named(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr_mambair.data.degraded_image_dataset import DegradedImageDataset

    main = os.getpid()

    def dies(self: Any, index: int) -> Any:
        if os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(DegradedImageDataset, "__getitem__", dies)
    options = contents(datasets__train__num_worker_per_gpu=1)
    del options["datasets"]["val"]
    with pytest.raises(WorkerDiedError, match=r"has died \(DataLoader worker .*num_worker_per_gpu"):
        Runs(pairs).train(options)


def test_a_worker_that_dies_before_it_has_handed_a_batch_over_is_named(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multiprocessing import resource_sharer

    def is_gone(number: object) -> Any:
        raise EOFError

    monkeypatch.setattr(resource_sharer._resource_sharer, "get_connection", is_gone)
    options = contents(datasets__train__num_worker_per_gpu=1)
    del options["datasets"]["val"]
    with pytest.raises(WorkerDiedError, match=r"has died \(a batch could not be fetched from it\)"):
        Runs(pairs).train(options)


def test_a_folder_that_cannot_be_written_to(pairs: Path) -> None:
    (pairs / "blocked").write_text("a file where a folder is wanted")
    options = contents(path__experiments_root=str(pairs / "blocked"))
    with pytest.raises(
        RunFolderError, match=r"blocked.*: cannot be written to \(Not a directory\)"
    ):
        Runs(pairs).train(options)
