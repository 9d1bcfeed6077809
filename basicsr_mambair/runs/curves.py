"""Curves of runs: the values of ``metrics.jsonl`` over the iterations, and drawings of them."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr_mambair.runs.listing import find_runs
from basicsr_mambair.runs.metrics import FILE, Record, read_metrics
from mambair.errors import UserError
from mambair.signatures import did_you_mean

_EXPERIMENTS = Path("experiments")
FORMATS = (".png", ".svg", ".pdf")


class CurveError(UserError):
    """A curve cannot be drawn; the message names the run or the value."""


@dataclass
class Curve:
    """A value of a run over its iterations.

    Attributes:
        run: name of the run.
        value: its name: ``l_pix``, ``lr``, ``psnr``, ``images_per_second``…
        dataset: the data set of a figure of validation; empty for a value of training.
        iterations: where it was reported.
        values: NaN where it was not finite.
    """

    run: str
    value: str
    dataset: str
    iterations: list[int]
    values: list[float]


def find_run(name: str) -> Path:
    """The folder of a run.

    Args:
        name: the folder, or the name of an experiment under the current directory.

    Raises:
        CurveError: there is no such run.
    """
    for folder in (Path(name), _EXPERIMENTS / name):
        if folder.is_dir():
            return folder
    known = [each.name for each in find_runs(_EXPERIMENTS)] if _EXPERIMENTS.is_dir() else []
    hint = f"; the runs are {', '.join(known)}" if known else ""
    raise CurveError(f"{name}: is neither a folder nor a run in {_EXPERIMENTS}{hint}")


def read_curves(folders: Sequence[Path], first: int = 0) -> list[Curve]:
    """Reads all curves of runs.

    Args:
        folders: the folders of the runs.
        first: iterations before this one are left out.

    Raises:
        CurveError: a run has no figures.
        MetricsError: the figures of a run cannot be read.
    """
    names = [folder.resolve().name for folder in folders]
    curves = []
    for folder, name in zip(folders, names, strict=True):
        records = read_metrics(folder)
        if not records:
            raise CurveError(f"{folder}: has no {FILE}, or nothing has been reported yet")
        label = name if names.count(name) == 1 else os.fspath(folder)
        curves += _curves_of(label, [each for each in records if each["iter"] >= first])
    if not curves:
        raise CurveError(f"--from: nothing was reported at iteration {first} or later")
    return curves


def _curves_of(run: str, records: list[Record]) -> list[Curve]:
    found: dict[tuple[str, str], Curve] = {}
    for record in records:
        dataset = record.get("val", "")
        for name, value in _values(record).items():
            curve = found.setdefault((dataset, name), Curve(run, name, dataset, [], []))
            curve.iterations.append(record["iter"])
            curve.values.append(math.nan if value is None else value)
    return list(found.values())


def _values(record: Record) -> dict[str, float | None]:
    if "val" in record:
        return dict(record["metrics"])
    rates = {f"lr_{number}" if number else "lr": rate for number, rate in enumerate(record["lr"])}
    return {**record["train"], **rates, **record["speed"]}


def choose(curves: list[Curve], wanted: Sequence[str]) -> dict[str, list[Curve]]:
    """Groups curves into the panels of a drawing.

    Args:
        curves: all curves.
        wanted: names of values, ``psnr`` or ``Set5/psnr``; empty: the first loss, and every figure
            of validation.

    Returns:
        The curves of every panel, by its title.

    Raises:
        CurveError: no run has a value of such a name.
    """
    if not wanted:
        losses = [each.value for each in curves if not each.dataset]
        wanted = [*losses[:1], *(each.value for each in curves if each.dataset)]
    panels = {}
    for name in dict.fromkeys(wanted):
        panel = [c for c in curves if name in (c.value, f"{c.dataset}/{c.value}")]
        if not panel:
            names = list(dict.fromkeys(c.value for c in curves))
            raise CurveError(f"--value: no run has {name!r}{did_you_mean(name, names)}")
        panels[name] = panel
    return panels


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """The mean of every value and the finite ones among the ``width`` − 1 before it."""
    means = []
    for end in range(1, len(values) + 1):
        finite = [value for value in values[max(0, end - width) : end] if math.isfinite(value)]
        means.append(sum(finite) / len(finite) if finite else math.nan)
    return means


def draw(panels: dict[str, list[Curve]], suffix: str, smooth: int = 1, log: bool = False) -> bytes:
    """Draws panels below each other.

    Args:
        panels: see :func:`choose`.
        suffix: the format, one of :data:`FORMATS`.
        smooth: reports over which values of training are averaged; what was reported is drawn
            faintly behind the mean.
        log: whether the values of training are drawn on a logarithmic scale.

    Returns:
        The contents of the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 2.8 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    runs = list(dict.fromkeys(c.run for panel in panels.values() for c in panel))
    for axes, (title, panel) in zip(rows, panels.items(), strict=True):
        several = len({c.dataset for c in panel}) > 1
        for number, curve in enumerate(panel):
            words = [curve.run] if len(runs) > 1 or not several else []
            words += [curve.dataset] if several else []
            color = f"C{number if several else runs.index(curve.run)}"
            _draw_curve(axes, curve, color, ", ".join(words), smooth)
        if log and not panel[0].dataset:
            axes.set_yscale("log")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    rows[-1].set_xlabel("iteration")
    figure.align_ylabels()
    buffer = io.BytesIO()
    undated: Any = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    figure.savefig(buffer, format=suffix.removeprefix("."), dpi=120, metadata=undated)
    return buffer.getvalue()


def _draw_curve(axes: Any, curve: Curve, color: str, label: str, smooth: int) -> None:
    values = curve.values
    if smooth > 1 and not curve.dataset:
        axes.plot(curve.iterations, values, color=color, alpha=0.25, linewidth=0.8)
        values = smoothed(values, smooth)
    # A validation is a point, and a single report would not show as a line.
    marker = "o" if curve.dataset or len(values) == 1 else None
    axes.plot(
        curve.iterations, values, color=color, label=label, linewidth=1.3, marker=marker,
        markersize=3,
    )  # fmt: skip
