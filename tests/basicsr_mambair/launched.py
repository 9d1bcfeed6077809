"""Trainings that torchrun launches, whose processes can be found and killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.basicsr_mambair.processes import free_port
from tests.basicsr_mambair.training.runs import contents


class Launched:
    """A training that torchrun has launched, the output of every process in a file of its own.

    Args:
        folder: holds the fixture ``pairs``; gets the option file.
        processes: how many.
        arguments: more for torchrun.
        resume: whether ``--auto_resume`` is given.
        python: the interpreter that trains.
        changes: of the options, as ``contents`` takes them.
    """

    def __init__(
        self, folder: Path, processes: int, *arguments: str, resume: bool = False,
        python: str = sys.executable, **changes: Any,
    ) -> None:  # fmt: skip
        options = contents(**changes)
        (folder / "run.yml").write_text(yaml.safe_dump(options))
        self.folder, self.processes, self.logs = folder, processes, folder / "processes"
        launch = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        launch += [f"--master_port={free_port()}", "--redirects=3", f"--log-dir={self.logs}"]
        command = ["train", "-opt", "run.yml", "--launcher", "pytorch"]
        command += ["--auto_resume"] * resume
        self.process = subprocess.Popen(
            [python, *launch, *arguments, "-m", "basicsr_mambair", *command],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def ranks(self) -> dict[int, int]:
        """The process of every rank."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            values = dict(each.split(b"=", 1) for each in variables if b"=" in each)
            if parent == self.process.pid and b"RANK" in values:
                found[int(values[b"RANK"])] = int(entry.name)
        return found

    def until_saved(self, iteration: int) -> None:
        state = self.folder / "experiments" / "run" / "training_states" / f"{iteration}.state"
        limit = time.monotonic() + 120
        while not state.exists():
            assert self.process.poll() is None and time.monotonic() < limit, self.output()
            time.sleep(0.05)

    def end(self, seconds: float) -> int:
        """Waits for the end, which must come within some seconds."""
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()

    def output(self) -> str:
        """What the processes wrote, of all attempts."""
        return "".join(path.read_text() for path in sorted(self.logs.rglob("std*.log")))
