"""Decay: how a token's influence on another falls with their distance in the sequence.

MambaIRv2 (arXiv 2411.15269, section 3.1) reorders tokens because decays multiply along the
sequence, so that pixels far apart in it hardly meet. Measured twice: by the norm of the exact
Jacobian of a result with respect to an earlier token, and by the product of decays alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambair.findings.alike import pairs_alike
from mambair.findings.drawing import new_figure, spread
from mambair.findings.finding import Finding, Line
from mambair.findings.recording import RecordedScan
from mambair.findings.recurrence import Recurrence, recurrence_of
from mambair.findings.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 64  # of the part of the picture
_TOKENS = 24  # whose Jacobians are computed
_BLOCKS = 6  # in the drawing
_AT_ONCE = 1024  # pairs in a temporary tensor
_RASTER, _ROUTED = "raster", "routed"


@dataclass(frozen=True)
class Curve:
    """Influence against distance, in one block and one order.

    Attributes:
        block: number of the block, from 1.
        module: name of the module.
        order: ``"raster"`` or ``"routed"``.
        distances: distances in the sequence, powers of 2.
        jacobian: mean norm of the Jacobian at those distances, over its value at distance 1.
        decays: mean product of decays.
        alike: mean product of decays between pixels that look alike.
    """

    block: int
    module: str
    order: str
    distances: NDArray[np.int64]
    jacobian: NDArray[np.float64]
    decays: NDArray[np.float64]
    alike: float


@dataclass(frozen=True)
class Decay(Finding):
    """The curves of all blocks; see :func:`decay`."""

    name: ClassVar[str] = "decay"
    curves: list[Curve]

    def summary(self) -> str:
        raster, routed = (self._of(order) for order in (_RASTER, _ROUTED))
        last = int(min(curve.distances[-1] for curve in raster))
        fallen = float(np.mean([curve.jacobian[curve.distances == last] for curve in raster]))
        text = (
            f"in raster order the influence at distance {last} is {fallen:.2g} of that of a "
            f"neighbor; between pixels that look alike, {_mean_alike(raster):.3f} is left of a "
            "state"
        )
        if routed:
            text += f" in raster order and {_mean_alike(routed):.3f} after routing"
        return text

    def table(self) -> list[Line]:
        return [
            {
                "block": curve.block,
                "module": curve.module,
                "order": curve.order,
                "distance": int(distance),
                "jacobian": float(curve.jacobian[k]),
                "product_of_decays": float(curve.decays[k]),
                "product_of_decays_alike": curve.alike,
            }
            for curve in self.curves
            for k, distance in enumerate(curve.distances)
        ]

    def draw(self) -> Figure:
        from matplotlib import colormaps

        figure = new_figure(11, 3.8)
        left, middle, right = figure.subplots(1, 3)
        numbers = sorted({curve.block for curve in self.curves})
        shown = [number for _, number in spread(numbers, _BLOCKS)]
        colors = {n: colormaps["viridis"](k / max(len(shown), 2)) for k, n in enumerate(shown)}
        for curve in self.curves:
            if curve.block not in colors:
                continue
            style = dict(color=colors[curve.block], ls="-" if curve.order == _ROUTED else "--")
            left.loglog(
                curve.distances,
                curve.jacobian,
                label=f"block {curve.block}, {curve.order}",
                **style,
            )
            middle.loglog(curve.distances, curve.decays, **style)
        left.set_title("norm of the Jacobian (1 at distance 1)", fontsize=9)
        middle.set_title("product of decays", fontsize=9)
        for axes in (left, middle):
            axes.set_xlabel("distance in the sequence", fontsize=8)
            axes.grid(alpha=0.3)
        left.legend(fontsize=6)
        colors_of = {_RASTER: "#7f8c8d", _ROUTED: "#c0392b"}
        orders = [order for order in colors_of if self._of(order)]
        width = 0.8 / len(orders)
        for shift, order in enumerate(orders):
            curves = self._of(order)
            places = [curve.block - 0.4 + width * (shift + 0.5) for curve in curves]
            left_of = [curve.alike for curve in curves]
            right.bar(places, left_of, width, color=colors_of[order], label=order)
        right.set_xticks([number for _, number in spread(numbers, _BLOCKS)])
        right.set_title("product of decays, pixels that look alike", fontsize=9)
        right.set_xlabel("block", fontsize=8)
        right.legend(fontsize=7)
        return figure

    def _of(self, order: str) -> list[Curve]:
        return [curve for curve in self.curves if curve.order == order]


def decay(subject: Subject, side: int = _SIDE) -> Decay:
    """Influence against distance, in raster order and, where a network routes, in its own order.

    The raster order of a MambaIR is its first direction. That of a MambaIRv2 is what its scan would
    do with the same tokens if they were not reordered.

    Args:
        subject: a network with selective scans, and a picture.
        side: side of the part of the picture; larger if the network takes no less.

    Raises:
        NotApplicableError: the network has no selective scan.
    """
    part = subject.middle(side)
    curves = []
    for number, scan in enumerate(part.scans, start=1):
        pairs = pairs_alike(part.at(scan))
        curves.append(_curve(scan, number, _RASTER, pairs))
        if scan.chosen is not None:
            curves.append(_curve(scan, number, _ROUTED, pairs))
    return Decay(curves)


def _curve(scan: RecordedScan, number: int, order: str, pairs: Tensor) -> Curve:
    recurrence = recurrence_of(scan, raster=order == _RASTER)
    places = pairs if order == _RASTER else scan.places[0].cpu()[pairs]
    length = len(recurrence.u)
    distances = 2 ** np.arange(int(math.log2(max(length // 2, 1))) + 1)
    # Tokens of the second half: all distances occur for every one.
    tokens = np.unique(np.linspace(int(distances[-1]), length - 1, _TOKENS).astype(int)).tolist()
    jacobians, decays = [], []
    for i in tokens:
        earlier = i - torch.from_numpy(distances)
        jacobians.append(recurrence.jacobian_norms(i, earlier).cpu().numpy())
        decays.append(recurrence.decays(i, earlier).mean(dim=(1, 2)).cpu().numpy())
    jacobian = np.stack(jacobians).mean(axis=0, dtype=np.float64)
    return Curve(
        block=number,
        module=scan.name,
        order=order,
        distances=distances,
        jacobian=jacobian / max(jacobian[0], 1e-30),
        decays=np.stack(decays).mean(axis=0, dtype=np.float64),
        alike=_left_of_pairs(recurrence, places),
    )


def _left_of_pairs(recurrence: Recurrence, places: Tensor) -> float:
    """The mean, over pairs of places, of what the later token finds of the earlier one's state."""
    earlier, later = places.min(dim=1).values, places.max(dim=1).values
    total = 0.0
    for start in range(0, len(places), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        between = recurrence.steps[later[part]] - recurrence.steps[earlier[part]]
        total += torch.exp(between[:, :, None] * recurrence.A).mean(dim=(1, 2)).sum().item()
    return total / len(places)


def _mean_alike(curves: list[Curve]) -> float:
    return sum(curve.alike for curve in curves) / len(curves)
