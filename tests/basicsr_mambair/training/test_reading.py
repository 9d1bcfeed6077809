"""Samples that cannot be read, workers that die, folders that are closed: one sentence."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

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


def test_a_folder_that_cannot_be_written_to(pairs: Path) -> None:
    (pairs / "blocked").write_text("a file where a folder is wanted")
    options = contents(path__experiments_root=str(pairs / "blocked"))
    with pytest.raises(
        RunFolderError, match=r"blocked.*: cannot be written to \(Not a directory\)"
    ):
        Runs(pairs).train(options)
