"""A training as a user starts it, that can be stopped at any moment and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import basicsr_mambair  # noqa: F401  (before BasicSR)

# isort: split
import yaml

from mambair.checkpoint import CheckpointError, load_checkpoint
from tests.basicsr_mambair.training.runs import contents, differences, figures
from tests.conftest import write_pairs

TOTAL = 120
HANG = 240  # seconds after which a process counts as hanging

_WORKERS = {"datasets__train__num_worker_per_gpu": 2}

# What users have in their option files; every one saves often, so that a kill often meets a write.
# The first knows nothing that was not there at the beginning of this project: batches fill epochs,
# because a run ended early where they did not.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {
        "model_type": "MambaIRv2Model",
        "datasets__train__degradation": {"type": "bicubic"},
        "datasets__train__dataset_enlarge_ratio": 4,
    },
    "degradation drawn on the fly, 2 workers, accumulation": {
        **_WORKERS, "train__gradient_accumulation": 2,
    },
    "GAN": {
        "model_type": "RestorationGANModel",
        "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4},
        "train__optim_d": {"type": "Adam", "lr": 1e-3},
        "train__gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
    },
    "progressive stages, 2 workers, fp16": {
        **_WORKERS, "train__amp": "fp16", "datasets__train__iters": [20, 40, 60],
        "datasets__train__gt_sizes": [16, 24, 32], "datasets__train__mini_batch_sizes": [4, 2, 1],
    },
}  # fmt: skip


@dataclass
class Training:
    """One run in a folder of its own, trained in legs.

    Args:
        folder: is created, with pictures and the option file.
        changes: of the options, as ``contents`` takes them.
        python: the interpreter whose installed package trains.
        total: iterations.
        saved_every: iterations between checkpoints; the last three stay.
        launcher: a command that the training is an argument of.
    """

    folder: Path
    changes: dict[str, Any] = field(default_factory=dict)
    python: str = sys.executable
    total: int = TOTAL
    saved_every: int = 3
    launcher: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.legs = 0
        self.folder.mkdir(parents=True)
        write_pairs(self.folder)
        options = contents(total=self.total, val__val_freq=25, **self.changes)
        options["logger"] |= {"save_checkpoint_freq": self.saved_every}
        if self.python == sys.executable:  # an older version has no such key
            options["logger"]["keep_last"] = 3
        (self.folder / "run.yml").write_text(yaml.safe_dump(options))

    @property
    def own(self) -> Path:
        """The folder that the run writes."""
        return self.folder / "experiments" / "run"

    def states(self) -> dict[int, Path]:
        """The training states that are there, by iteration."""
        return {int(each.stem): each for each in self.own.glob("training_states/*.state")}

    def start(self, *force: str, resume: bool = True) -> subprocess.Popen[bytes]:
        """Starts a leg on one thread, in a process group of its own.

        Args:
            force: changes of options, as ``--force_yml`` takes them.
            resume: whether ``--auto_resume`` is given.
        """
        self.legs += 1
        command = [*self.launcher, self.python, "-m", "basicsr_mambair", "train"]
        command += ["-opt", "run.yml", *(["--auto_resume"] if resume else [])]
        command += ["--force_yml", *force] if force else []
        with (self.folder / f"leg-{self.legs}.txt").open("wb") as output:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def output(self) -> str:
        """What the last leg printed."""
        return (self.folder / f"leg-{self.legs}.txt").read_text(errors="replace")

    def finish(self) -> str:
        """Trains to the end.

        Returns:
            What is wrong with the way it ended; empty if nothing is.
        """
        process = self.start()
        status = wait(process)
        if status is None:
            return "hangs"
        return "" if status == 0 else f"status {status}: {tail(self.output())}"

    def until_a_state(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until the process has written a training state, or has ended."""
        before, limit = self.states().keys(), time.monotonic() + HANG
        while process.poll() is None and not self.states().keys() - before:
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.folder}: no training state after {HANG} s")
            time.sleep(0.01)

    @contextmanager
    def halted(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Halts a process after its next training state, so that what is done meanwhile meets it.

        A process on a busy machine may else have ended before.
        """
        self.until_a_state(process)
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGCONT)

    def end(self) -> dict[str, Any]:
        """What is compared with other runs: :func:`end_of`."""
        return end_of(self.own, self.total)

    def unlike(self, expected: dict[str, Any]) -> str:
        """What differs from the end of another run: :func:`unlike`."""
        return unlike(self.own, self.total, expected)


def end_of(own: Path, total: int) -> dict[str, Any]:
    """What is compared bit for bit: weights, averages, optimizers, losses, figures.

    Args:
        own: the folder that a run has written.
        total: its last iteration.

    Raises:
        CheckpointError: the run has not left what it must.
    """
    return {
        "weights": {path.name: load_checkpoint(path) for path in own.glob("models/*_latest.pth")},
        "state": load_checkpoint(own / "training_states" / f"{total}.state"),
        "figures": figures(own),
    }


def unlike(own: Path, total: int, expected: dict[str, Any]) -> str:
    """What differs from the end of another run, and what should not lie about; empty: nothing."""
    try:
        found = differences(expected, end_of(own, total))
    except CheckpointError as error:
        return str(error)
    found += [f"stray {path.name}" for path in strays(own)]
    return f"{len(found)} differences: {', '.join(found[:3])}" if found else ""


def refusal(output: str, *names: str) -> str:
    """What is wrong with the way a command refused; empty if one sentence names the fault.

    Args:
        output: what it printed.
        names: words of which its last line must hold one.
    """
    last = tail(output)
    if "Traceback" in output:
        return f"a traceback: {last}"
    return "" if any(name in last for name in names) else f"not named: {last}"


def strays(folder: Path) -> list[Path]:
    """Files that were begun and are not complete."""
    return list(folder.rglob("*.part"))


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and what it started, as a machine that dies does."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait(process: subprocess.Popen[bytes], seconds: float = HANG) -> int | None:
    """The exit status of a process; ``None`` if it hangs, and had to be killed."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        return None


def tail(output: str) -> str:
    """The last line of what a program printed."""
    return next((line for line in reversed(output.splitlines()) if line.strip()), "")[:300]
