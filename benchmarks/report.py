"""Parts of the benchmarks: measuring in turns, tables, targets, and the files that are written."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mambair.ops import native

INTRODUCTION = """# Benchmarks

Written by one run of

    OMP_WAIT_POLICY=PASSIVE python benchmarks/run.py --out docs

which needs `pip install -e '.[dev]'`. The functions that are compared take turns within
the run, after one turn to warm up; figures are medians with the smallest and the largest time.
Only CPUs were measured, not GPUs. All figures are in [benchmarks.json](benchmarks.json).
"""

Times = dict[str, tuple[float, float, float]]  # name to median, smallest, largest; in seconds


class Report:
    """Collects tables, and ratios with their targets, and writes them."""

    def __init__(self) -> None:
        self.tables: dict[str, Times] = {}
        self.curves: dict[str, dict[str, dict[int, float]]] = {}
        self.bars: list[dict[str, Any]] = []
        self.text: list[str] = []

    def say(self, text: str = "") -> None:
        print(text, flush=True)
        self.text.append(text)

    def table(self, title: str, times: Times) -> None:
        """Adds a table of times, and of the ratio of each to the last row."""
        self.tables[title] = times
        self.say(f"\n### {title}\n\n| | median | smallest – largest | × the last row |")
        self.say("| --- | --- | --- | --- |")
        last = list(times.values())[-1][0]
        for name, (median, least, largest) in times.items():
            spread = f"{least * 1e3:.1f} – {largest * 1e3:.1f} ms"
            self.say(f"| {name} | {median * 1e3:.1f} ms | {spread} | {median / last:.2f} |")

    def bar(self, figure: str, value: float, at_least: float = 0.0, at_most: float = 0.0) -> None:
        """Adds a ratio and its target."""
        met = value >= at_least if at_least else value <= at_most
        wanted = f"≥ {at_least:g}" if at_least else f"≤ {at_most:g}"
        self.bars.append({"figure": figure, "value": value, "bar": wanted, "met": met})

    def point(self, chart: str, curve: str, x: int, seconds: float) -> None:
        self.curves.setdefault(chart, {}).setdefault(curve, {})[x] = seconds

    def summary(self) -> str:
        lines = ["| figure | measured | target | met |", "| --- | --- | --- | --- |"]
        for bar in self.bars:
            met = "yes" if bar["met"] else "no"
            lines.append(f"| {bar['figure']} | {bar['value']:.3g} | {bar['bar']} | {met} |")
        return "\n".join(lines)

    def write(self, folder: Path, machine: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        plot(self.curves, folder / "benchmarks.svg")
        figures = {"machine": machine, "bars": self.bars, "seconds": self.tables}
        figures["curves"] = self.curves
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        (folder / "benchmarks.json").write_text(text + "\n")
        page = [
            INTRODUCTION,
            *(f"- {line}" for line in machine),
            "\n![time by tokens and by pixels](benchmarks.svg)\n",
            self.summary(),
            *self.text,
        ]
        (folder / "benchmarks.md").write_text("\n".join(page) + "\n")


def plot(curves: dict[str, dict[str, dict[int, float]]], path: Path) -> None:
    """Plots time by size, one chart for every group of curves."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(4.5 * len(curves), 3.6), squeeze=False)
    for axis, (title, group) in zip(axes[0], curves.items(), strict=True):
        for name, points in group.items():
            axis.loglog(list(points), list(points.values()), marker="o", label=name)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("pixels" if "eval" in title else "tokens")
        axis.set_ylabel("seconds")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def measure(functions: dict[str, Callable[[], Any]], repeats: int) -> Times:
    """Median, smallest and largest time of functions that take turns, after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: (statistics.median(t), min(t), max(t)) for name, t in times.items()}


def describe_machine() -> list[str]:
    """Describes the machine and the software that the figures belong to."""
    names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
    return [
        f"{datetime.date.today():%d %B %Y}; {names[0].partition(':')[2].strip()}, "
        f"{os.cpu_count()} cores; {platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, float32; C++ kernels: {native.describe()}",
        f"load average at the start {os.getloadavg()[0]:.2f}, "
        f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', '')}",
    ]
