"""Published figures, their sources, and claims: ``published.csv``, ``sources.csv``, ``claims.csv``.

The figures are transcribed from the tables of the MambaIR and MambaIRv2 papers, and from the pages
of the authors of newer networks; a digest is not a source. Where both papers print a figure, the
newer one's is kept, except for MambaIR on color noise, where its own paper and its weights agree.
The light table of the MambaIR paper is left out: its authors replaced it.
"""

from __future__ import annotations

import csv
import importlib.resources
from dataclasses import dataclass
from functools import cache

# Names of data sets in the papers.
_ALIASES = {"B100": "BSDS100", "BSD100": "BSDS100"}


@dataclass(frozen=True)
class Figure:
    """A published PSNR (dB) and SSIM of a method on a data set.

    Attributes:
        task: ``sr``, ``jpeg``, ``denoising_color`` or ``real_denoising``.
        table: one of the task's tables: ``light``, ``classic``, ``gray``, ``color``, ``camera``.
        setting: scale, JPEG quality, or σ in gray levels (of 255); 1 for real noise.
        parameters: parameters as printed, rounded; ``None`` if not printed.
        macs: multiply–accumulates for an output of 1280×720; ``None`` if not printed.
        source: key into :func:`sources`.
        note: anything unusual about the figure.
    """

    task: str
    table: str
    setting: int
    method: str
    dataset: str
    psnr: float
    ssim: float | None
    parameters: int | None
    macs: int | None
    source: str
    note: str


@dataclass(frozen=True)
class Source:
    """The publication of figures, and the protocol they were measured by."""

    citation: str
    protocol: str


@dataclass(frozen=True)
class Claim:
    """What an article says of two networks.

    Attributes:
        task: as in :class:`Figure`.
        setting: as in :class:`Figure`.
        before: method that the other one is compared with.
        after: the other method.
        claim: the differences as they are quoted, and where.
        remark: which figures give them, and what cannot be matched.
    """

    task: str
    setting: int
    before: str
    after: str
    claim: str
    remark: str


@cache
def figures() -> tuple[Figure, ...]:
    """Returns every published figure in the package."""
    return tuple(
        Figure(
            line["task"],
            line["table"],
            int(line["setting"]),
            line["method"],
            line["dataset"],
            float(line["psnr"]),
            float(line["ssim"]) if line["ssim"] else None,
            int(line["parameters"]) if line["parameters"] else None,
            int(line["macs"]) if line["macs"] else None,
            line["source"],
            line["note"],
        )
        for line in _lines("published.csv")
    )


@cache
def sources() -> dict[str, Source]:
    """Returns the sources by key."""
    return {
        line["source"]: Source(line["citation"], line["protocol"]) for line in _lines("sources.csv")
    }


@cache
def claims() -> tuple[Claim, ...]:
    """Returns the claims about pairs of networks."""
    return tuple(
        Claim(
            line["task"],
            int(line["setting"]),
            line["before"],
            line["after"],
            line["claim"],
            line["remark"],
        )
        for line in _lines("claims.csv")
    )


def figures_for(task: str, setting: int, method: str | None) -> list[Figure]:
    """Returns the published table that a measurement is compared with.

    Args:
        task: task of the measurement.
        setting: scale, quality or σ.
        method: the row that the measurement reproduces, which decides between the tables of a task;
            ``None``: the first table.
    """
    matching = [each for each in figures() if (each.task, each.setting) == (task, setting)]
    tables = [each.table for each in matching if method in (None, each.method)]
    if not tables:
        tables = [each.table for each in matching]
    return [each for each in matching if each.table == tables[0]]


def published_name(dataset: str) -> str:
    """Returns the papers' name of a data set."""
    return _ALIASES.get(dataset, dataset)


def _lines(name: str) -> list[dict[str, str]]:
    text = importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
