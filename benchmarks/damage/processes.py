"""Processes that die: one of several that train together, or one that reads pictures."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from basicsr_mambair.runs.resources import children
from benchmarks.damage.outcome import Outcome
from benchmarks.damage.training import VARIANTS, Training, end_of, tail, unlike, wait
from tests.basicsr_mambair.launched import Launched
from tests.conftest import write_pairs

QUICK, FULL = 1, 12

_PLAIN, _WORKERS = list(VARIANTS)[:2]
_PROCESSES, _TOTAL = 2, 90
_SECONDS = 10  # within which all processes must have ended


def provoke(budget: int, seed: int, folder: Path, python: str = sys.executable) -> list[Outcome]:
    """Kills a rank, a rank under torchrun's ``--max-restarts``, a loader worker, in turn."""
    draws = random.Random(seed)
    peers = Peers(folder, python)
    ways = {
        f"one of {_PROCESSES} processes killed, the run continued": peers.kill_one,
        f"one of {_PROCESSES} processes killed, restarted by torchrun": peers.restart_one,
        "a process that reads pictures killed, the run continued": Readers(folder, python).kill_one,
    }
    outcomes = {damage: Outcome(damage) for damage in ways}
    for number in range(budget):
        damage = list(ways)[number % len(ways)]
        wrong = ways[damage](folder / f"run-{number}", draws)
        if wrong:
            outcomes[damage].unnamed.append(f"run {number}: {wrong}")
        elif ways[damage] == peers.restart_one:
            outcomes[damage].survived += 1
        else:
            outcomes[damage].named += 1
    return list(outcomes.values())


class Peers:
    """Runs of several processes, compared with one that nobody stopped."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python = folder, python
        self._expected: dict[str, Any] | None = None

    def kill_one(self, folder: Path, draws: random.Random) -> str:
        """Kills a rank; all must end soon, and one sentence names it; then the run goes on."""
        run = self._launched(folder)
        rank = self._kill(run, draws)
        try:
            if run.end(_SECONDS) == 0:
                return f"rank {rank} was killed, and the status is 0"
        except subprocess.TimeoutExpired:
            return f"rank {rank} was killed, and {_SECONDS} s later not all have ended"
        output = run.output()
        if "Traceback" in output or output.count(f"rank {rank} of {_PROCESSES}") != 1:
            return f"rank {rank} is not named once, in one sentence: {tail(output)}"
        return self._end(self._launched(folder), folder)

    def restart_one(self, folder: Path, draws: random.Random) -> str:
        """Kills a rank of a run that torchrun starts again."""
        run = self._launched(folder, "--max-restarts=2")
        self._kill(run, draws)
        return self._end(run, folder)

    def _launched(self, folder: Path, *arguments: str) -> Launched:
        if not folder.exists():
            folder.mkdir(parents=True)
            write_pairs(folder)
        return Launched(
            folder, _PROCESSES, *arguments, resume=True, python=self._python,
            total=_TOTAL, **VARIANTS[_PLAIN],
            datasets__train__batch_size_per_gpu=4 // _PROCESSES,
        )  # fmt: skip

    def _kill(self, run: Launched, draws: random.Random) -> int:
        run.until_saved(3 * draws.randint(1, _TOTAL // 6))
        time.sleep(draws.uniform(0, 0.1))
        rank = draws.randrange(_PROCESSES)
        os.kill(run.ranks()[rank], signal.SIGKILL)
        return rank

    def _end(self, run: Launched, folder: Path) -> str:
        if run.end(600) != 0:
            return f"does not go on: {tail(run.output())}"
        if self._expected is None:
            whole = self._folder / "whole"
            never_stopped = self._launched(whole)
            if never_stopped.end(600) != 0:
                raise RuntimeError(f"{whole}: a run that nobody stopped does not end")
            self._expected = end_of(whole / "experiments" / "run", _TOTAL)
        return unlike(folder / "experiments" / "run", _TOTAL, self._expected)


class Readers:
    """Runs whose loader's workers die, compared with one that nobody stopped."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python = folder, python
        self._changes = VARIANTS[_WORKERS]
        if python != sys.executable:  # an older version reads no more than the first variant
            self._changes = VARIANTS[_PLAIN] | {"datasets__train__num_worker_per_gpu": 2}
        self._expected: dict[str, Any] | None = None

    def kill_one(self, folder: Path, draws: random.Random) -> str:
        """Kills a worker; the run must end with a sentence about it; then it goes on."""
        run = Training(folder, self._changes, self._python, total=_TOTAL)
        process = run.start()
        run.until_a_state(process)
        time.sleep(draws.uniform(0, 0.3))
        workers = _alike(process.pid)
        if not workers:
            return "has no workers"
        os.kill(draws.choice(workers), signal.SIGKILL)
        status, output = wait(process), run.output()
        if status is None:
            return "hangs"
        if status != 0 and ("Traceback" in output or "num_worker_per_gpu" not in tail(output)):
            return f"is not named in one sentence: {tail(output)}"
        wrong = run.finish()
        if wrong:
            return wrong
        if self._expected is None:
            whole = Training(self._folder / "whole-workers", self._changes, self._python, _TOTAL)
            wrong = whole.finish()
            if wrong:
                raise RuntimeError(f"a run that nobody stopped does not end: {wrong}")
            self._expected = whole.end()
        return run.unlike(self._expected)


def _alike(process: int) -> list[int]:
    """The children of a process that it has forked: their command is its own."""
    command = Path(f"/proc/{process}/cmdline").read_bytes()
    return [
        child for child in children(process)
        if Path(f"/proc/{child}/cmdline").read_bytes() == command
    ]  # fmt: skip
