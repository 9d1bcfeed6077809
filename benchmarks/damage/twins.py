"""Two commands at once: trainings of one run, restorations into one folder."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.damage.outcome import Outcome
from benchmarks.damage.training import VARIANTS, Training, refusal, tail, wait
from tests.conftest import write_pairs

QUICK, FULL = 2, 12

_CHANGES = next(iter(VARIANTS.values()))


def provoke(budget: int, seed: int, folder: Path, python: str = sys.executable) -> list[Outcome]:
    """Starts two trainings of one name, and two restorations into one folder."""
    draws = random.Random(seed)
    trainings = Outcome("a second training of a run that is being trained")
    whole = Training(folder / "whole", _CHANGES, python)
    wrong = whole.finish()
    if wrong:
        raise RuntimeError(f"a run that nobody stopped does not end: {wrong}")
    expected = whole.end()
    for number in range(budget // 2):
        run = Training(folder / f"train-{number}", _CHANGES, python)
        wrong = _train_twice(run, draws)
        wrong = wrong or run.unlike(expected)
        if wrong:
            trainings.unnamed.append(f"run {number}: {wrong}")
        else:
            trainings.named += 1
    restorations = Outcome("two restore into one folder at once")
    for number in range(budget // 2):
        wrong = _restore_twice(folder / f"restore-{number}", draws, python)
        if wrong:
            restorations.unnamed.append(f"try {number}: {wrong}")
        else:
            restorations.survived += 1
    return [trainings, restorations]


def _train_twice(run: Training, draws: random.Random) -> str:
    """The first is halted while the second begins, which else might find it finished."""
    first = run.start()
    with run.halted(first):
        status, output = wait(run.start(resume=draws.random() < 0.5)), run.output()
    if status is None:
        return "the second hangs"
    if status == 0:
        return "the second trains, too"
    if wait(first) != 0:
        return f"the first does not end: {tail((run.folder / 'leg-1.txt').read_text())}"
    return refusal(output, "another process is training this run")


def _restore_twice(folder: Path, draws: random.Random, python: str) -> str:
    folder.mkdir()
    write_pairs(folder)

    def start(out: str) -> subprocess.Popen[bytes]:
        with (folder / f"{out}.txt").open("ab") as output:
            return subprocess.Popen(
                [python, "-m", "basicsr_mambair", "restore", "LR", "-o", out, "--scale", "2"],
                cwd=folder, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    alone = wait(start("alone"))
    if alone != 0:
        raise RuntimeError(f"{folder}: restore, alone: status {alone}")
    first = start("both")
    time.sleep(draws.uniform(0, 0.5))
    second = start("both")
    statuses = [wait(each) for each in (first, second)]
    output = (folder / "both.txt").read_text()
    if statuses != [0, 0] or "Traceback" in output:
        return f"statuses {statuses}: {tail(output)}"
    one, two = (
        {path.name: path.read_bytes() for path in (folder / out).glob("*.png")}
        for out in ("alone", "both")
    )
    return "" if one == two else f"the folders differ: {sorted(one)}, {sorted(two)}"
