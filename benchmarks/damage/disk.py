"""Disks that run full while a run is saved, and folders that cannot be written to."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.damage.outcome import Outcome
from benchmarks.damage.training import VARIANTS, Training, refusal, strays, wait
from mambair.checkpoint import CheckpointError, load_checkpoint

QUICK, FULL = 2, 12

_CHANGES = next(iter(VARIANTS.values()))
_DISK = 4_000_000  # bytes
_DENIED = ("Permission denied", "cannot be written to", "not writable")


def provoke(budget: int, seed: int, folder: Path, python: str = sys.executable) -> list[Outcome]:
    """Fills a small disk, and forbids folders, while a run goes on or before it begins."""
    draws = random.Random(seed)
    runs = Runs(folder, python)
    outcomes = []
    ways = {"the disk runs full in a run, which is continued": runs.fill,
            "folders cannot be written to, before a run or in it": runs.forbid}  # fmt: skip
    for damage, way in ways.items():
        outcome = Outcome(damage)
        for number in range(budget // len(ways)):
            try:
                wrong = way(folder / f"{way.__name__}-{number}", draws)
            except PermissionError as error:
                outcome.note = str(error)
                break
            if wrong:
                outcome.unnamed.append(f"run {number}: {wrong}")
            else:
                outcome.named += 1
        outcomes.append(outcome)
    return outcomes


class Runs:
    """Runs that cannot be saved, and the run that they are compared with."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python = folder, python
        self._expected: dict[str, Any] | None = None

    def fill(self, folder: Path, draws: random.Random) -> str:
        """Fills the disk after some checkpoint, but for some bytes.

        Raises:
            PermissionError: no disk may be mounted here.
        """
        run = self._run(folder)
        with _small_disk(folder / "experiments") as disk:
            process = run.start()
            with run.halted(process), (disk / "others").open("wb") as file:  # another program's
                _fill(file.fileno(), draws.randrange(40_000))
            status = wait(process)
            if status is None:
                return "hangs"
            wrong = "status 0" if status == 0 else self._after(run, "the disk is full", "No space")
            (disk / "others").unlink()
            return wrong or run.finish() or run.unlike(self._whole())

    def forbid(self, folder: Path, draws: random.Random) -> str:
        """Takes the right to write away from the folders of a run, or from all before it."""
        run = self._run(folder)
        at_once = draws.random() < 0.5
        forbidden = run.folder / "experiments" if at_once else draws.choice(
            [run.own / "models", run.own / "training_states", run.own]
        )  # fmt: skip
        if at_once:
            forbidden.mkdir()
            forbidden.chmod(0o555)
            process = run.start()
        else:
            process = run.start()
            with run.halted(process):
                forbidden.chmod(0o555)
        status = wait(process)
        forbidden.chmod(0o755)
        if status is None:
            return "hangs"
        if status == 0 and forbidden != run.own:  # nothing new is written into the last
            return f"status 0, {forbidden.name} forbidden"
        wrong = "" if status == 0 else self._after(run, *_DENIED)
        return wrong or run.finish() or run.unlike(self._whole())

    def _run(self, folder: Path) -> Training:
        launcher: tuple[str, ...] = ()
        if os.geteuid() == 0:  # who may write everywhere, unless that is taken away, too
            if shutil.which("setpriv") is None:
                raise PermissionError("root needs setpriv to be forbidden anything")
            launcher = ("setpriv", "--bounding-set=-dac_override")
        return Training(folder, _CHANGES, self._python, launcher=launcher)

    def _whole(self) -> dict[str, Any]:
        if self._expected is None:
            whole = Training(self._folder / "whole", _CHANGES, self._python)
            wrong = whole.finish()
            if wrong:
                raise RuntimeError(f"a run that nobody stopped does not end: {wrong}")
            self._expected = whole.end()
        return self._expected

    def _after(self, run: Training, *names: str) -> str:
        """What is wrong with the message, or with the checkpoints that are there."""
        for path in (*run.states().values(), *run.own.glob("models/*.pth")):
            try:
                load_checkpoint(path)
            except CheckpointError as error:
                return str(error)
        left = strays(run.own)
        return f"stray {left[0].name}" if left else refusal(run.output(), *names)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError("nobody may mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(file: int, left: int) -> None:
    """Writes until the disk has about so many bytes left."""
    status = os.fstatvfs(file)
    missing = status.f_bavail * status.f_frsize - left
    try:
        while missing > 0:
            missing -= os.write(file, bytes(min(missing, 1 << 16)))
    except OSError:  # the run has taken the rest
        pass
