"""Redundancy of directions: MambaIR's four scans say much the same.

MambaIRv2 (arXiv 2411.15269, section 3.1) scans once because the features of the four directions
resemble each other. Two measures: the cosine between the four results at a pixel, and linear CKA
("Similarity of Neural Network Representations Revisited", Kornblith et al., ICML 2019), which does
not ask that channels agree one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mambair.findings.drawing import bare, new_figure, spread
from mambair.findings.finding import Finding, Line, NotApplicableError
from mambair.findings.recording import RecordedScan
from mambair.findings.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIRECTIONS = ("rows", "columns", "rows back", "columns back")
_COLUMNS = 6  # blocks in the drawing


@dataclass(frozen=True)
class Similarity:
    """How alike the directions of one block are; every matrix is ``(K, K)``.

    Attributes:
        name: name of the module.
        cosine: mean cosine of two directions' results at the same pixel.
        cka: linear CKA of the results.
        cosine_of_states: cosine of what comes out of the states, without the skip D·u that every
            direction adds.
        cka_of_states: the same as CKA.
    """

    name: str
    cosine: Tensor
    cka: Tensor
    cosine_of_states: Tensor
    cka_of_states: Tensor


_MEASURES = ("cosine", "cka", "cosine_of_states", "cka_of_states")


@dataclass(frozen=True)
class DirectionRedundancy(Finding):
    """The similarity of directions in all blocks; see :func:`direction_redundancy`."""

    name: ClassVar[str] = "direction_redundancy"
    blocks: list[Similarity]

    def summary(self) -> str:
        cosine, cka, bare_cosine, bare_cka = (
            sum(_between(getattr(block, measure)) for block in self.blocks) / len(self.blocks)
            for measure in _MEASURES
        )
        return (
            f"two of the four directions have a cosine of {cosine:.3f} and a CKA of {cka:.3f} on "
            f"average (without the skip D·u: {bare_cosine:.3f} and {bare_cka:.3f})"
        )

    def table(self) -> list[Line]:
        return [
            {
                "block": number,
                "module": block.name,
                "first": DIRECTIONS[a],
                "second": DIRECTIONS[b],
                **{key: getattr(block, key)[a, b].item() for key in _MEASURES},
            }
            for number, block in enumerate(self.blocks, start=1)
            for a, b in combinations(range(len(DIRECTIONS)), 2)
        ]

    def draw(self) -> Figure:
        shown = spread(self.blocks, _COLUMNS)
        rows = {
            "cosine": "cosine",
            "cka": "CKA",
            "cosine_of_states": "cosine, without D·u",
            "cka_of_states": "CKA, without D·u",
        }
        figure = new_figure(2.2 * len(shown) + 1.2, 8.6)
        figure.set_layout_engine("compressed")  # leaves room for the names of the directions
        axes = figure.subplots(len(rows), len(shown), squeeze=False)
        for row, (measure, title) in enumerate(rows.items()):
            for column, (number, block) in enumerate(shown):
                matrix = getattr(block, measure)
                cell = bare(axes[row, column], f"block {number + 1}: {title}")
                image = cell.imshow(matrix.numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
                for a in range(len(matrix)):
                    for b in range(len(matrix)):
                        value = matrix[a, b].item()
                        color = "white" if abs(value) > 0.6 else "black"
                        cell.text(
                            b, a, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color
                        )
                if column == 0:
                    cell.set_yticks(range(len(DIRECTIONS)), DIRECTIONS, fontsize=6)
        figure.colorbar(image, ax=axes, shrink=0.4)
        return figure


def direction_redundancy(subject: Subject) -> DirectionRedundancy:
    """How alike the results of the directions are, pixel by pixel.

    Args:
        subject: a MambaIR and a picture.

    Raises:
        NotApplicableError: the network scans in one direction only.
    """
    blocks = [_similarity(scan) for scan in subject.scans if scan.tokens.shape[1] > 1]
    if not blocks:
        raise NotApplicableError(f"{type(subject.net).__name__} scans in one direction only")
    return DirectionRedundancy(blocks)


def _similarity(scan: RecordedScan) -> Similarity:
    skip = scan.ssm.Ds.detach().view(scan.tokens.shape[1:]) * scan.tokens
    results = scan.in_raster_order(scan.output).double().cpu()
    states = scan.in_raster_order(scan.output - skip).double().cpu()
    return Similarity(
        scan.name,
        mean_cosine(results),
        linear_cka(results),
        mean_cosine(states),
        linear_cka(states),
    )


def mean_cosine(features: Tensor) -> Tensor:
    """The mean over L of the cosine between every two of K, from ``(L, K, E)``: ``(K, K)``."""
    unit = F.normalize(features, dim=2)
    return torch.einsum("lae,lbe->ab", unit, unit) / len(features)


def linear_cka(features: Tensor) -> Tensor:
    """Linear CKA (Kornblith et al., 2019, equation 4) of ``(L, K, E)``: ``(K, K)``."""
    centered = features - features.mean(dim=0)
    products = torch.einsum("lae,lbf->abef", centered, centered).square().sum(dim=(2, 3))
    norms = products.diagonal().sqrt()
    return products / (norms[:, None] * norms)


def _between(matrix: Tensor) -> float:
    """The mean of the entries between different directions."""
    count = len(matrix)
    off_diagonal = matrix[~torch.eye(count, dtype=torch.bool)]
    return off_diagonal.mean().item()
