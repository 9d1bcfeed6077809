"""The attentive map: which pixels of the picture answer the query of one pixel.

In the attentive state-space equation (arXiv 2411.15269, section 3.3) a prompt is added to C, which
so becomes a query that knows tokens the scan has not reached. Two maps show what comes of it: the
match of the query with the keys of *all* pixels, and the weights with which the scan really sums
the pixels *before* it in the sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambair.findings.alike import likest
from mambair.findings.drawing import bare, new_figure, spread
from mambair.findings.finding import Finding, FindingError, Line, NotApplicableError
from mambair.findings.recording import RecordedScan
from mambair.findings.recurrence import Recurrence, recurrence_of
from mambair.findings.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6  # blocks in the drawing
_SALIENT = 3  # pixels chosen when none is named
_LIKE = 0.01  # share of the picture that counts as looking like a pixel
_BRIGHT = 99.5  # percentile of a map that is drawn in the brightest color


@dataclass(frozen=True)
class QueryMap:
    """One pixel's query in one block. Maps are of the size of the token map and sum to 1.

    Attributes:
        block: number of the block, from 1.
        module: name of the module.
        x: column of the pixel in the picture.
        y: row of the pixel in the picture.
        place: share of the sequence that comes before it.
        answers: match of the query with the key of every other pixel, ``(h, w)``.
        influence: weight of every other pixel in the scan's sum, ``(h, w)``; 0 for those that
            come later in the sequence.
        lift: answers on the 1 % of pixels that look most like it, over their share of pixels: 1 if
            they answer like any others.
        lift_without_prompt: the same for the query without its prompt.
        influence_lift: the same for the influence.
    """

    block: int
    module: str
    x: int
    y: int
    place: float
    answers: NDArray[np.float32]
    influence: NDArray[np.float32]
    lift: float
    lift_without_prompt: float
    influence_lift: float


@dataclass(frozen=True)
class AttentiveMap(Finding):
    """The maps of some pixels in all blocks; see :func:`attentive_map`."""

    name: ClassVar[str] = "attentive_map"
    subject: Subject
    maps: list[QueryMap]

    def summary(self) -> str:
        lift, without, influence = (
            float(np.mean([getattr(each, key) for each in self.maps]))
            for key in ("lift", "lift_without_prompt", "influence_lift")
        )
        return (
            f"pixels that look like the query answer it {lift:.2f} times as much as the average "
            f"pixel ({without:.2f} times without the prompt); in the scan's sum they weigh "
            f"{influence:.2f} times as much"
        )

    def table(self) -> list[Line]:
        keys = (
            "block", "module", "x", "y", "place", "lift", "lift_without_prompt", "influence_lift",
        )  # fmt: skip
        return [{key: getattr(each, key) for key in keys} for each in self.maps]

    def draw(self) -> Figure:
        pixels = list(dict.fromkeys((each.x, each.y) for each in self.maps))
        blocks = sorted({each.block for each in self.maps})
        shown = [block for _, block in spread(blocks, _COLUMNS)]
        by_key = {(each.x, each.y, each.block): each for each in self.maps}
        figure = new_figure(1.75 * (len(shown) + 1), 3.8 * len(pixels))
        axes = figure.subplots(2 * len(pixels), len(shown) + 1, squeeze=False)
        for row, (x, y) in enumerate(pixels):
            for lower, kind in enumerate(("answers", "influence")):
                first = bare(axes[2 * row + lower, 0], f"pixel {x}, {y}")
                first.imshow(self.subject.rgb.clip(0, 1))
                first.set_ylabel("answers" if kind == "answers" else "weight in the sum")
                self._mark(first, x, y)
                for column, block in enumerate(shown, start=1):
                    cell = axes[2 * row + lower, column]
                    self._overlay(cell, getattr(by_key[x, y, block], kind))
                    bare(cell, f"block {block}")
                    self._mark(cell, x, y)
        return figure

    def _mark(self, axes: Any, x: int, y: int) -> None:
        left, top = x - self.subject.left, y - self.subject.top
        axes.plot(left, top, "+", color="#00e5ff", markersize=9, markeredgewidth=1.6)

    def _overlay(self, axes: Any, values: NDArray[np.float32]) -> None:
        """A map over the gray picture, brighter where its value is higher."""
        height, width = self.subject.size
        gray = cv2.cvtColor(self.subject.rgb, cv2.COLOR_RGB2GRAY)
        axes.imshow(gray, cmap="gray", vmin=-0.2, vmax=1.4)
        seen = values[values > 0]
        brightest = np.percentile(seen, _BRIGHT) if len(seen) else 1.0
        axes.imshow(
            values, cmap="inferno", vmin=0, vmax=brightest, alpha=0.65, interpolation="nearest",
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )  # fmt: skip


def attentive_map(
    subject: Subject, pixels: Sequence[tuple[int, int]] | None = None
) -> AttentiveMap:
    """Which pixels answer the query of a pixel, by block.

    Args:
        subject: a MambaIRv2 and a picture.
        pixels: column and row of pixels in the picture as it was given; by default its three
            strongest corners (Shi and Tomasi, CVPR 1994), some way apart.

    Raises:
        NotApplicableError: the network has no prompts.
        FindingError: a pixel is not in the part that is looked at; names it. Or there is none.
    """
    scans = [scan for scan in subject.scans if scan.prompt is not None]
    if not scans:
        raise NotApplicableError(f"{type(subject.net).__name__} has no prompts")
    if pixels is None:
        queries = _salient(subject)
    else:
        queries = list(dict.fromkeys(subject.locate(*each) for each in pixels))
    if not queries:
        raise FindingError("an attentive map needs a pixel at least")
    maps: list[QueryMap] = []
    for number, scan in enumerate(scans, start=1):
        recurrence = recurrence_of(scan)
        for left, top in queries:
            maps.append(_query_map(subject, scan, recurrence, number, left, top))
    return AttentiveMap(subject, maps)


def _query_map(
    subject: Subject, scan: RecordedScan, recurrence: Recurrence, block: int, left: int, top: int
) -> QueryMap:
    height, width = subject.size
    pixel = top * scan.height // height * scan.width + left * scan.width // width
    place = int(scan.places[0, pixel])
    query = recurrence.C[place] + recurrence.prompt[place]
    step = recurrence.delta.mean(dim=1)  # what enters a state is δB u
    influence = torch.zeros_like(step)
    influence[: place + 1] = recurrence.weights(place, query).abs().mean(dim=1)
    maps = {
        "answers": (recurrence.B @ query).abs() * step,
        "without": (recurrence.B @ recurrence.C[place]).abs() * step,
        "influence": influence,
    }
    maps = {key: _in_picture(each, scan, pixel) for key, each in maps.items()}
    like = likest(subject.at(scan), pixel, _LIKE)
    share = len(like) / (len(step) - 1)
    lift = {key: each[like].sum().item() / share for key, each in maps.items()}
    shape = (scan.height, scan.width)
    return QueryMap(
        block=block,
        module=scan.name,
        x=left + subject.left,
        y=top + subject.top,
        place=place / len(step),
        answers=maps["answers"].view(shape).numpy(),
        influence=maps["influence"].view(shape).numpy(),
        lift=lift["answers"],
        lift_without_prompt=lift["without"],
        influence_lift=lift["influence"],
    )


def _in_picture(values: Tensor, scan: RecordedScan, pixel: int) -> Tensor:
    """Values along the sequence at their pixels, without the query's own, summing to 1."""
    spread_out = torch.empty_like(values)
    spread_out[scan.order[0]] = values
    spread_out[pixel] = 0
    return (spread_out / spread_out.sum().clamp_min(1e-30)).cpu()


def _salient(subject: Subject) -> list[tuple[int, int]]:
    """The strongest corners; the middle of a picture without any."""
    height, width = subject.size
    gray = cv2.cvtColor(subject.rgb, cv2.COLOR_RGB2GRAY)
    corners = cv2.goodFeaturesToTrack(gray, _SALIENT, 0.01, min(height, width) / 4)
    if corners is None:
        return [(width // 2, height // 2)]
    return [(int(x), int(y)) for x, y in np.rint(corners.reshape(-1, 2))]
