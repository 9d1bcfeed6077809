"""Trainings that are asked to stop: by a scheduler, by a closed terminal, by Ctrl-C."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.damage.outcome import Outcome
from benchmarks.damage.stopping import Stop, Stopper, stop_and_continue
from benchmarks.damage.training import Training, tail, wait

QUICK, FULL = 1, 45


def provoke(budget: int, seed: int, folder: Path, python: str = sys.executable) -> list[Outcome]:
    """Sends signals at any moment, during imports too; see :mod:`..stopping`.

    A run that trains must save and say how to continue; one that does not yet must end at once.
    What Python itself prints before it runs the command is not this package's.
    """
    names = ("SIGTERM", "SIGHUP", "SIGINT")
    stoppers = {f"{name} at a random moment": (_sender(name), 1) for name in names}
    return list(stop_and_continue(stoppers, budget, seed, folder, python).values())


def _sender(name: str) -> Stopper:
    def send(training: Training, process: subprocess.Popen[bytes], draws: random.Random) -> Stop:
        number = getattr(signal, name)
        if name == "SIGTERM":  # a scheduler's, to the process; the others come from a terminal
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)
        if wait(process) is None:
            return Stop(f"{name}: hangs")
        output = training.output()
        if "Traceback" in output:
            if ", in run\n" not in output:  # Python was still starting
                return Stop()
            return Stop(f"{name}: {tail(output)}")
        heard = "saving after this iteration" in output and process.returncode != 0
        if heard and "--auto_resume" not in output:
            return Stop(f"{name}: does not say how to continue: {tail(output)}")
        return Stop(named="saved iteration" in output)

    return send
