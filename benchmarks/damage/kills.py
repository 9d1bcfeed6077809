"""Trainings that are killed, alone or with the loss of what the disk had not written yet."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.damage.outcome import Outcome
from benchmarks.damage.stopping import Stop, stop_and_continue
from benchmarks.damage.training import Training, kill, strays

QUICK, FULL = 1, 120

KILL = "SIGKILL at a random moment"
POWER = "SIGKILL, then the newest state or weights cut at a random byte (power)"


def provoke(budget: int, seed: int, folder: Path, python: str = sys.executable) -> list[Outcome]:
    """Kills runs, and cuts the newest file after every sixth; see :mod:`..stopping`."""
    torn = Counter[str]()

    def kill_it(training: Training, process: subprocess.Popen[bytes], draws: random.Random) -> Stop:
        kill(process)
        torn[KILL] += bool(strays(training.own))
        return Stop()

    def cut_power(
        training: Training, process: subprocess.Popen[bytes], draws: random.Random
    ) -> Stop:
        kill(process)
        states = sorted(training.states().items())
        if len(states) > 1:  # else there is nothing to fall back to
            iteration, state = states[-1]
            path = draws.choice([state, training.own / "models" / f"net_g_{iteration}.pth"])
            os.truncate(path, draws.randrange(path.stat().st_size))
            torn[POWER] += 1
        return Stop()

    stoppers = {KILL: (kill_it, 5), POWER: (cut_power, 1)}
    outcomes = stop_and_continue(stoppers, budget, seed, folder, python)
    outcomes[KILL].note = f"{torn[KILL]} while a file was being written"
    outcomes[POWER].note = f"{torn[POWER]} with a file to cut"
    return list(outcomes.values())
