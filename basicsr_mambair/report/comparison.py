"""Two networks beside each other: what they cost, what they reach, and what was claimed of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from basicsr_mambair.options import load_any_options
from basicsr_mambair.report.about import count_cost
from basicsr_mambair.report.published import Figure, claims, figures, published_name, sources
from basicsr_mambair.report.records import Measurement, MeasurementError
from basicsr_mambair.report.tables import digits


@dataclass(frozen=True)
class _Side:
    """A network of the comparison, and its PSNR by data set."""

    method: str
    task: str
    setting: int
    network: dict[str, Any]
    scale: int
    published: dict[str, Figure]
    measured: dict[str, float]


def compare(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    measurements: Sequence[Measurement] = (),
) -> str:
    """Compares the networks of two test option files.

    Parameters and MACs (for an output of 1280×720, as the papers count) are counted here, from the
    option files; PSNR is the published one and, where ``measurements`` hold it, that measured here.

    Args:
        before: option file of the first network.
        after: option file of the second.
        measurements: of one or both of them.

    Returns:
        A table in GitHub's Markdown, its sources, and the claim that the articles make of the two.

    Raises:
        MeasurementError: an option file names no published row, or the two belong to different
            tasks.
    """
    first, second = (_side(path, measurements) for path in (before, after))
    if (first.task, first.setting) != (second.task, second.setting):
        raise MeasurementError(
            f"{os.fspath(before)} is about {first.task} {first.setting}, "
            f"{os.fspath(after)} about {second.task} {second.setting}: they cannot be compared"
        )
    costs = [count_cost(side.network, side.scale) for side in (first, second)]
    lines = [
        _cost("parameters, counted here", *(each["parameters"] for each in costs)),
        _cost("MACs, counted here", *(each["published_macs"] for each in costs)),
        *(_gain(f"{name} PSNR, published", first.published[name].psnr, figure.psnr)
          for name, figure in second.published.items() if name in first.published),
        *(_gain(f"{name} PSNR, measured", first.measured[name], psnr)
          for name, psnr in second.measured.items() if name in first.measured),
    ]  # fmt: skip
    table = tabulate(
        lines, ["", first.method, second.method, "difference"], tablefmt="github",
        disable_numparse=True, colalign=("left", "right", "right", "right"),
    )  # fmt: skip
    keys = [each.source for side in (first, second) for each in side.published.values()]
    notes = [f"Published: {sources()[key].citation}." for key in dict.fromkeys(keys)]
    for claim in claims():
        if (claim.task, claim.setting) == (first.task, first.setting) and (
            claim.before, claim.after) == (first.method, second.method):  # fmt: skip
            notes.append(f"Claimed: {claim.claim}. {claim.remark}")
    return "\n\n".join([table, *notes])


def _side(path: str | os.PathLike[str], measurements: Sequence[Measurement]) -> _Side:
    options = load_any_options(path)
    published: dict[str, Any] = options.get("published") or {}
    missing = [key for key in ("task", "setting", "method") if key not in published]
    if missing:
        raise MeasurementError(
            f"{os.fspath(path)}: published: {' and '.join(missing)} must say which published row "
            "belongs to the network"
        )
    task, setting, method = published["task"], int(published["setting"]), published["method"]
    of_row = [each for each in figures()
              if (each.task, each.setting, each.method) == (task, setting, method)]  # fmt: skip
    measured = {
        published_name(name): psnr
        for measurement in measurements
        if measurement.about["name"] == options["name"]
        for name in measurement.datasets
        if (psnr := measurement.mean(name, "psnr")) is not None
    }
    return _Side(
        method, task, setting, options["network_g"], int(options.get("scale", 1)),
        {each.dataset: each for each in of_row}, measured,
    )  # fmt: skip


def _cost(name: str, before: int | None, after: int | None) -> list[str]:
    if before is None or after is None:
        return [name, "", "", ""]
    unit, size = ("", 1) if max(before, after) < 1e9 else (" G", 1e9)
    shown = [f"{each:,}" if size == 1 else f"{each / size:,.1f}{unit}" for each in (before, after)]
    return [name, *shown, f"{100 * (after / before - 1):+.1f} %".replace("-", "−")]


def _gain(name: str, before: float, after: float) -> list[str]:
    places = digits("psnr")
    difference = f"{after - before:+.{places}f} dB".replace("-", "−")
    return [name, f"{before:.{places}f}", f"{after:.{places}f}", difference]
