"""Crops and plots for a report."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2

from basicsr_mambair.report.records import (
    Measurement,
    MeasurementError,
    PictureResult,
    load_picture,
    plain_name,
)
from basicsr_mambair.report.tables import Table, short
from mambair.imaging.comparison import most_detailed_window
from mambair.imaging.pixels import Pixels
from mambair.imaging.resizing import repeat_pixels
from mambair.imaging.writing import encode_image

_SIDE = 120  # side of a crop, in pixels of the ground truth
_ZOOM = 2
_CHOSEN = 2  # crops for each measurement if the user chooses none
# Where the name of a point may stand, in points; the first is the usual place.
_OFFSETS = [(x, y) for y in (3, -11, 14, -22, 25, -33, 36) for x in (5, -5, 25, -25, 45, -45)]
_Box = tuple[float, ...]  # left, bottom, right, top
_LEADER = {"arrowstyle": "-", "color": "#7f8c8d", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}


@dataclass(frozen=True)
class Crop:
    """The same region in every version of a picture.

    Attributes:
        title: names the network, the data set and the picture.
        panels: caption and PNG file of every version.
    """

    title: str
    panels: list[tuple[str, bytes]]


def make_crops(measurement: Measurement, chosen: list[str]) -> list[Crop]:
    """Cuts crops from the chosen pictures, by default from those whose figures rose most.

    Args:
        measurement: a finished measurement.
        chosen: pictures, ``DATASET/PICTURE``.

    Raises:
        MeasurementError: a picture's file no longer exists.
    """
    pictures = [p for p in measurement.pictures if _name(measurement, p) in chosen]
    if not chosen:
        metric = next(iter(measurement.about["metrics"]))
        first = measurement.of(measurement.datasets[0])
        ranked = sorted(first, key=lambda p: p.baseline[metric] - p.metrics[metric])
        pictures = ranked[:_CHOSEN]
    return [_make_crop(measurement, picture) for picture in pictures]


def check_chosen(known: Iterable[str], chosen: Sequence[str]) -> None:
    """Raises :class:`MeasurementError` for a chosen picture that is not among the known ones."""
    known = sorted(set(known))
    for name in chosen:
        if name not in known:
            raise MeasurementError(
                f"--crop: there is no picture {name!r}; the pictures are {', '.join(known[:6])}, …"
            )


def picture_names(measurement: Measurement) -> list[str]:
    """``DATASET/PICTURE`` of every picture, as :func:`make_crops` accepts them."""
    return [_name(measurement, picture) for picture in measurement.pictures]


def _name(measurement: Measurement, picture: PictureResult) -> str:
    return f"{picture.dataset}/{plain_name(picture.name, measurement.about['scale'])}"


def _make_crop(measurement: Measurement, picture: PictureResult) -> Crop:
    images = {
        kind: load_picture(measurement, picture, kind)
        for kind in ("gt", "input", "baseline", "result")
    }
    scale = measurement.about["scale"]
    top, left, height, width = most_detailed_window(_bgr(images["gt"]), _SIDE)
    window = (slice(top, top + height), slice(left, left + width))
    low = repeat_pixels(images["input"], scale)
    metric = next(iter(measurement.about["metrics"]))

    def caption(name: str, values: dict[str, float]) -> str:
        return f"{name}, {values[metric]:.2f} dB" if metric == "psnr" else name

    panels = [("ground truth", images["gt"])]
    if scale > 1:
        panels.append(("input", low))
        panels.append((caption("bicubic", picture.baseline), images["baseline"]))
    else:
        panels.append((caption("input", picture.baseline), images["input"]))
    panels.append((caption("restored", picture.metrics), images["result"]))
    name = measurement.about["name"].removeprefix("test_")
    return Crop(
        f"{name}: {_name(measurement, picture)}",
        [
            (text, encode_image(repeat_pixels(image[window], _ZOOM), ".png"))
            for text, image in panels
        ],
    )


def _bgr(image: Pixels) -> Pixels:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def plot_parameters(table: Table) -> bytes | None:
    """Plots PSNR against parameters on the first data set.

    Returns:
        The plot as SVG; ``None`` if there are fewer than two points.
    """
    dataset = table.datasets[0]
    points = [
        (row.parameters, row.figures[dataset, "psnr"], row.method, row.kind)
        for row in table.rows
        if row.parameters and (dataset, "psnr") in row.figures
    ]
    if len(points) < 2:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for parameters, psnr, _, kind in points:
        measured = kind == "measured"
        axes.scatter(
            parameters, psnr, s=45 if measured else 25, zorder=3 if measured else 2,
            color="#c0392b" if measured else "#7f8c8d", marker="D" if measured else "o",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))  # whose labels do not meet
    for axis_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis_formatter(FuncFormatter(lambda value, _: short(round(value))))
    axes.tick_params(axis="x", which="both", labelsize=8)
    axes.margins(0.12)
    axes.set_xlabel("parameters")
    axes.set_ylabel("PSNR, dB")
    axes.set_title(
        f"{table.title}, {dataset}; diamonds: measured here, dots: published", fontsize=9
    )
    axes.grid(alpha=0.3)
    _label(axes, points)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _label(axes: Any, points: list[tuple[int, float, str, str]]) -> None:
    """Writes names beside the points, each at the nearest place where no name or point is covered.

    A line leads to a name that is not beside its point; it crosses others only if it has to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # fixes the positions
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    pixels = axes.figure.dpi / 72  # of a point, as offsets are measured
    frame: _Box = axes.bbox.extents
    here = [axes.transData.transform(point[:2]) for point in points]
    taken: list[_Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in here]
    for (x, y), (parameters, psnr, method, kind) in zip(here, points, strict=True):
        label = axes.annotate(
            method, (parameters, psnr), xytext=_OFFSETS[0], textcoords="offset points",
            fontsize=8, fontweight="bold" if kind == "measured" else "normal",
        )  # fmt: skip
        others = [box for box in taken if not _meet(box, (x, y, x, y))]
        fitting = []
        for right, up in _OFFSETS:
            label.set(position=(right, up), horizontalalignment="left" if right > 0 else "right")
            box: _Box = tuple(label.get_window_extent(renderer).extents)
            if _within(box, frame) and not any(_meet(box, each) for each in taken):
                line = _along(x, y, right * pixels, up * pixels)
                crosses = any(_meet(spot, each) for spot in line for each in others)
                fitting.append((crosses, math.hypot(right, up), (right, up), box))
        # Over others rather than not at all.
        _, _, (right, up), box = min(fitting, default=(True, 0, _OFFSETS[0], taken[0]))
        taken.append(box)
        label.set(position=(right, up), horizontalalignment="left" if right > 0 else "right")
        if abs(right) > 5 or abs(up) > 11:
            axes.annotate(
                "", (parameters, psnr), xytext=(right, up), textcoords="offset points",
                arrowprops=_LEADER,
            )  # fmt: skip


def _along(x: float, y: float, right: float, up: float) -> list[_Box]:
    """Points on a line that begins at x, y, as boxes without extent."""
    shares = [step / 20 for step in range(21)]
    return [(x + t * right, y + t * up) * 2 for t in shares]


def _within(a: _Box, b: _Box) -> bool:
    """Whether the first box lies in the second."""
    return b[0] < a[0] and b[1] < a[1] and a[2] < b[2] and a[3] < b[3]


def _meet(a: _Box, b: _Box) -> bool:
    """Whether two boxes have common points."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
