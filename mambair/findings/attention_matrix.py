"""A state space as attention: the matrix M with y = M u, and what the prompt adds to it.

The state-space equation is a causal linear attention in which C asks, B answers, and decays mask
(arXiv 2411.15269, section 3.2; "Transformers are SSMs", Dao and Gu, ICML 2024, arXiv 2405.21060).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambair.findings.drawing import bare, new_figure, spread
from mambair.findings.finding import Finding, Line
from mambair.findings.recording import RecordedScan
from mambair.findings.recurrence import Recurrence, recurrence_of
from mambair.findings.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AT_ONCE = 2**21  # entries of matrices that are computed at a time
_SIDE = 16  # of the part of the picture: M has a row and a column for every pixel
_COLUMNS = 6  # blocks in the drawing
_DARK = 1e-4  # of the largest weight: what is drawn in black


@dataclass(frozen=True)
class BlockMatrix:
    """M of one block. Weights are means over channels of absolute values.

    Attributes:
        name: name of the module.
        deviation: largest difference between M u + D u and what the network's scan returned, over
            the largest absolute value that it returned.
        weights: weights in the order of the first direction's sequence, ``(L, L)``.
        of_prompt: the part of M that the prompt makes, likewise; ``None``: there is none.
        in_picture: weights of all directions together between pixels in raster order, ``(L, L)``.
        prompt_share: Frobenius norm of the prompt's part over that of the part of C.
        unscanned: share of the weight that goes to pixels that come later in raster order.
    """

    name: str
    deviation: float
    weights: NDArray[np.float64]
    of_prompt: NDArray[np.float64] | None
    in_picture: NDArray[np.float64]
    prompt_share: float
    unscanned: float


@dataclass(frozen=True)
class AttentionMatrix(Finding):
    """The matrices of all blocks; see :func:`attention_matrix`."""

    name: ClassVar[str] = "attention_matrix"
    blocks: list[BlockMatrix]

    def summary(self) -> str:
        deviation = max(block.deviation for block in self.blocks)
        later = sum(block.unscanned for block in self.blocks) / len(self.blocks)
        text = (
            f"recurrence and masked product of {len(self.blocks[0].weights)} tokens agree to "
            f"{deviation:.1e}; {later:.0%} of the weight goes to pixels that a "
            "single scan in raster order would not have reached"
        )
        shares = [block.prompt_share for block in self.blocks if block.of_prompt is not None]
        if shares:
            mean = sum(shares) / len(shares)
            text += f"; the prompt's part of M is {mean:.0%} as large as that of C"
        return text

    def table(self) -> list[Line]:
        return [
            {
                "block": number,
                "module": block.name,
                "deviation": block.deviation,
                "prompt_over_c": block.prompt_share,
                "weight_on_later_pixels": block.unscanned,
            }
            for number, block in enumerate(self.blocks, start=1)
        ]

    def draw(self) -> Figure:
        shown = spread(self.blocks, _COLUMNS)
        rows = {
            "weights": "|M|, sequence",
            "of_prompt": "prompt's part",
            "in_picture": "|M|, picture",
        }
        if all(block.of_prompt is None for _, block in shown):
            del rows["of_prompt"]
        figure = new_figure(1.9 * len(shown) + 0.8, 2.0 * len(rows))
        axes = figure.subplots(len(rows), len(shown), squeeze=False)
        for column, (number, block) in enumerate(shown):
            largest = block.weights.max()
            for row, (key, title) in enumerate(rows.items()):
                matrix = getattr(block, key)
                cell = bare(axes[row, column], f"block {number + 1}: {title}")
                top = block.in_picture.max() if key == "in_picture" else largest
                image = cell.imshow(
                    np.log10(np.maximum(matrix / top, _DARK)), cmap="magma",
                    vmin=np.log10(_DARK), vmax=0, interpolation="nearest",
                )  # fmt: skip
        figure.colorbar(image, ax=axes, shrink=0.5, label="log10 of weight over the largest")
        return figure


def attention_matrix(subject: Subject, side: int = _SIDE) -> AttentionMatrix:
    """M of every block on the middle of a picture, checked against the network's own scan.

    Args:
        subject: a network with selective scans, and a picture.
        side: side of the part of the picture, larger if the network takes no less; M is computed
            for side⁴ pairs of pixels.

    Raises:
        NotApplicableError: the network has no selective scan.
    """
    part = subject.middle(side)
    return AttentionMatrix([_block(scan) for scan in part.scans])


def _block(scan: RecordedScan) -> BlockMatrix:
    length, directions, _ = scan.tokens.shape
    deviations, sequence, prompts, share = [], None, None, 0.0
    in_picture = torch.zeros(length, length, dtype=torch.float64)
    for k in range(directions):
        recurrence = recurrence_of(scan, k, dtype=torch.float64)
        y, weights, of_prompt, share_of_prompt = _sums(recurrence)
        output = scan.output[:, k].double()
        deviations.append(((y - output).abs().max() / output.abs().max()).item())
        places = scan.places[k].cpu()
        in_picture += weights[places[:, None], places]
        if sequence is None:
            sequence = weights
        if scan.prompt is not None:
            prompts, share = of_prompt, share_of_prompt
    assert sequence is not None
    later = (in_picture.triu(1).sum() / in_picture.sum()).item()
    return BlockMatrix(
        name=scan.name,
        deviation=max(deviations),
        weights=sequence.numpy(),
        of_prompt=None if prompts is None else prompts.numpy(),
        in_picture=in_picture.numpy(),
        prompt_share=share,
        unscanned=later,
    )


def _sums(recurrence: Recurrence) -> tuple[Tensor, Tensor, Tensor, float]:
    """What a block shows of its matrices, computed for some channels at a time.

    Returns:
        ``y = M u + D u``, ``(L, E)``; the mean of the absolute values of M over channels and that
        of the prompt's part, ``(L, L)``; and how large this part is, as a share of that of C.
    """
    length, channels = recurrence.u.shape
    y = recurrence.D * recurrence.u
    weights, of_prompt = torch.zeros(2, length, length, dtype=torch.float64)
    plain_square = added_square = 0.0
    size = max(_AT_ONCE // length**2, 1)
    for start in range(0, channels, size):
        part = slice(start, start + size)
        plain, added = recurrence.matrices(recurrence.C, recurrence.prompt, channels=part)
        plain_square += plain.square().sum().item()
        added_square += added.square().sum().item()
        of_prompt += added.abs().sum(dim=0).cpu()
        matrix = plain.add_(added)
        y[:, part] += torch.einsum("eij,je->ie", matrix, recurrence.u[:, part])
        weights += matrix.abs().sum(dim=0).cpu()
    share = (added_square / plain_square) ** 0.5 if plain_square else 0.0
    return y, weights / channels, of_prompt / channels, share
