"""Semantic-guided neighboring: routing brings pixels that look alike together in the sequence.

MambaIRv2 (arXiv 2411.15269, section 3.3) orders tokens by the class that routing chose for them.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambair.findings.alike import pairs_alike
from mambair.findings.drawing import bare, new_figure, spread
from mambair.findings.finding import Finding, Line, NotApplicableError
from mambair.findings.recording import RecordedScan
from mambair.findings.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6  # blocks in the drawing
_APART = 0.25  # of the picture's diagonal: pairs further apart count as distant
_GOLDEN = 0.618034  # steps of hue that give neighboring numbers different colors


@dataclass(frozen=True)
class Neighbors:
    """What one block does to the sequence.

    Distances are means over pairs of pixels that look alike, as shares of the sequence; in a random
    order they would be 1/3.

    Attributes:
        scan: the scan.
        rgb: the picture at the size of its token map, ``(h, w, 3)``.
        confidence: mean probability of a token's likeliest class, before noise; 1 over the number
            of classes where routing knows nothing.
        classes: number of classes that a token chose.
        largest: share of the tokens in the class of most tokens.
        before: distance in raster order.
        after: distance in the order of the scan.
        distant_before: the same of pairs that are far apart in the picture (nan: there are none).
        distant_after: the same in the order of the scan.
    """

    scan: RecordedScan
    rgb: NDArray[np.float32]
    confidence: float
    classes: int
    largest: float
    before: float
    after: float
    distant_before: float
    distant_after: float


@dataclass(frozen=True)
class SemanticNeighbors(Finding):
    """The routing of all blocks; see :func:`semantic_neighbors`."""

    name: ClassVar[str] = "semantic_neighbors"
    blocks: list[Neighbors]

    def summary(self) -> str:
        before, after, distant_before, distant_after, confidence = (
            sum(getattr(block, key) for block in self.blocks) / len(self.blocks)
            for key in ("before", "after", "distant_before", "distant_after", "confidence")
        )
        text = (
            f"pixels that look alike are {before:.3f} of the sequence apart in raster order and "
            f"{after:.3f} after routing (a random order: 0.333)"
        )
        if not math.isnan(distant_before):
            text += f"; distant ones {distant_before:.3f} and {distant_after:.3f}"
        return f"{text}; the likeliest class has a probability of {confidence:.3f}"

    def table(self) -> list[Line]:
        return [
            {
                "block": number,
                "module": block.scan.name,
                "confidence": block.confidence,
                "classes_used": block.classes,
                "largest_class": block.largest,
                "alike_distance_raster": block.before,
                "alike_distance_routed": block.after,
                "distant_alike_distance_raster": block.distant_before,
                "distant_alike_distance_routed": block.distant_after,
            }
            for number, block in enumerate(self.blocks, start=1)
        ]

    def draw(self) -> Figure:
        shown = spread(self.blocks, _COLUMNS)
        figure = new_figure(1.75 * (len(shown) + 1), 4.0)
        axes = figure.subplots(2, len(shown) + 1, squeeze=False)
        bare(axes[0, 0], "picture").imshow(shown[0][1].rgb.clip(0, 1))
        bare(axes[1, 0], "sequence in raster order").imshow(shown[0][1].rgb.clip(0, 1))
        for column, (number, block) in enumerate(shown, start=1):
            scan = block.scan
            assert scan.chosen is not None
            colors = _class_colors(int(scan.chosen.max()) + 1)
            classes = scan.chosen.view(scan.height, scan.width).cpu().numpy()
            bare(axes[0, column], f"block {number + 1}: {block.classes} classes").imshow(
                colors[classes], interpolation="nearest"
            )
            sequence = block.rgb.reshape(-1, 3)[scan.order[0].cpu().numpy()]
            bare(axes[1, column], f"reordered: {block.before:.3f} → {block.after:.3f}").imshow(
                sequence.reshape(block.rgb.shape).clip(0, 1), interpolation="nearest"
            )
        return figure


def semantic_neighbors(subject: Subject) -> SemanticNeighbors:
    """Classes, order, and how far apart the sequence puts pixels that look alike.

    Args:
        subject: a MambaIRv2 and a picture.

    Raises:
        NotApplicableError: the network does not route.
    """
    blocks = []
    for scan in subject.scans:
        if scan.chosen is None or scan.confidence is None:
            continue
        rgb = subject.at(scan)
        pairs = pairs_alike(rgb)
        distant = _distance_in_picture(pairs, scan.width) > _APART * np.hypot(*rgb.shape[:2])
        length = len(scan.chosen)
        before = (pairs[:, 0] - pairs[:, 1]).abs() / length
        places = scan.places[0].cpu()[pairs]
        after = (places[:, 0] - places[:, 1]).abs() / length
        counts = scan.chosen.bincount()
        blocks.append(
            Neighbors(
                scan=scan,
                rgb=rgb,
                confidence=scan.confidence.mean().item(),
                classes=int((counts > 0).sum()),
                largest=float(counts.max()) / length,
                before=before.mean().item(),
                after=after.mean().item(),
                distant_before=before[distant].mean().item(),
                distant_after=after[distant].mean().item(),
            )
        )
    if not blocks:
        raise NotApplicableError(f"{type(subject.net).__name__} does not route its tokens")
    return SemanticNeighbors(blocks)


def _distance_in_picture(pairs: Tensor, width: int) -> Tensor:
    down = pairs[:, 0] // width - pairs[:, 1] // width
    across = pairs[:, 0] % width - pairs[:, 1] % width
    return torch.hypot(down.double(), across.double())


def _class_colors(count: int) -> NDArray[np.float32]:
    """A color a class, ``(count, 3)``."""
    return np.array(
        [
            colorsys.hsv_to_rgb(_GOLDEN * k % 1, 0.75, 0.95 - 0.45 * (k % 3) / 2)
            for k in range(count)
        ],
        np.float32,
    )
