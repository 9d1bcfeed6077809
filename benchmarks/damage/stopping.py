"""Runs that are stopped again and again, continued until they end, and compared with whole ones.

Each must end with the weights, averages, optimizers, losses and figures of a run that was never
stopped, bit for bit.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.damage.outcome import Outcome
from benchmarks.damage.training import VARIANTS, Training

_STOPS_OF_A_RUN = 6


class Stop(NamedTuple):
    """What was seen when a leg was stopped.

    Attributes:
        wrong: what is wrong already, before the run goes on; empty if nothing is.
        named: whether the leg ended with the right sentence.
    """

    wrong: str = ""
    named: bool = False


Stopper = Callable[[Training, "subprocess.Popen[bytes]", random.Random], Stop]


def stop_and_continue(
    stoppers: Mapping[str, tuple[Stopper, int]], budget: int, seed: int, folder: Path, python: str
) -> dict[str, Outcome]:
    """Stops runs of all variants at random moments.

    Half of the moments are drawn from the whole life of a run, imports and ends included, the
    others from what follows the next checkpoint, so that a run that is stopped often gets on.

    Args:
        stoppers: ways to stop a leg, by name, and how often each is chosen.
        budget: stops, over all runs.
        seed: of variants, ways and moments.
        folder: an empty folder.
        python: the interpreter that trains; another than this one trains the first variant alone,
            whose options every version knows.

    Returns:
        An outcome for every way. What differs at the end of a run counts for all its stops.
    """
    names = list(VARIANTS) if python == sys.executable else list(VARIANTS)[:1]
    draws = random.Random(seed)
    outcomes = {name: Outcome(f"{name}, continued with --auto_resume") for name in stoppers}
    ways, weights = list(stoppers), [weight for _, weight in stoppers.values()]
    whole: dict[str, tuple[dict[str, Any], float]] = {}
    number = 0
    while budget > 0:
        name = names[number % len(names)]
        if name not in whole:
            whole[name] = _never_stopped(folder / f"whole-{len(whole)}", name, python)
        expected, life = whole[name]
        training = Training(folder / f"run-{number}", VARIANTS[name], python)
        drawn = draws.choices(ways, weights, k=min(budget, _STOPS_OF_A_RUN))
        stops: list[tuple[str, Stop]] = []
        for way in drawn:
            stop = _leg(training, life, stoppers[way][0], draws)
            if stop is None:
                break
            stops.append((way, stop))
        wrong_end = training.finish() or training.unlike(expected)
        for way, stop in stops:
            if stop.wrong or wrong_end:
                outcomes[way].unnamed.append(f"{name}, run {number}: {stop.wrong or wrong_end}")
            elif stop.named:
                outcomes[way].named += 1
            else:
                outcomes[way].survived += 1
        budget, number = budget - max(1, len(stops)), number + 1
    return outcomes


def _never_stopped(folder: Path, name: str, python: str) -> tuple[dict[str, Any], float]:
    """The end of a run that is left alone, and how many seconds it lived."""
    training, begin = Training(folder, VARIANTS[name], python), time.monotonic()
    wrong = training.finish()
    if wrong:
        raise RuntimeError(f"{folder}: a run that nobody stopped does not end: {wrong}")
    return training.end(), time.monotonic() - begin


def _leg(training: Training, life: float, stopper: Stopper, draws: random.Random) -> Stop | None:
    """Starts a leg and stops it; ``None`` if it ends before, which tries nothing."""
    process = training.start()
    if draws.random() < 0.5:
        time.sleep(draws.uniform(0, life))
    else:
        training.until_a_state(process)
        time.sleep(draws.uniform(0, 0.3))
    return stopper(training, process, draws) if process.poll() is None else None
