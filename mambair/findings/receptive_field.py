"""The effective receptive field: how much every pixel of the input moves the middle of the output.

"Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", Luo et al.,
NeurIPS 2016. The contribution ratio is that of "Scaling Up Your Kernels to 31×31", Ding et al.,
CVPR 2022, section 5.3: the share of the picture's area that a square around the middle needs to
hold a share t of all contributions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mambair.findings.drawing import bare, new_figure
from mambair.findings.finding import Finding, FindingError, Line
from mambair.findings.subject import Subject, unpadded_sides

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mambair.imaging.pixels import Pixels

DEFAULT_SIDE = 96  # of the parts of the pictures
_SHARES = (0.2, 0.3, 0.5, 0.99)  # t, as Ding et al. tabulate it
_DARK = 1e-6  # of the largest contribution: what is drawn in black


@dataclass(frozen=True)
class ReceptiveField(Finding):
    """The receptive fields of some networks; see :func:`receptive_field`.

    Attributes:
        fields: contribution of every pixel by network, ``(s, s)``, at most 1.
        pictures: number of pictures that they are the mean of.
    """

    name: ClassVar[str] = "receptive_field"
    fields: dict[str, NDArray[np.float64]]
    pictures: int

    def summary(self) -> str:
        side = len(next(iter(self.fields.values())))
        ratios = ", ".join(
            f"{name} {area_ratio(field, 0.99):.1%}" for name, field in self.fields.items()
        )
        return (
            f"area that holds 99 % of the contributions, out of {side}×{side} pixels, mean of "
            f"{self.pictures} picture{'s' * (self.pictures > 1)}: {ratios}"
        )

    def table(self) -> list[Line]:
        return [
            {
                "network": name,
                "side": len(field),
                "pictures": self.pictures,
                "t": share,
                "area_ratio": area_ratio(field, share),
                "reached": float((field > _DARK).mean()),
            }
            for name, field in self.fields.items()
            for share in _SHARES
        ]

    def draw(self) -> Figure:
        figure = new_figure(3.1 * len(self.fields) + 1, 3.3)
        axes = figure.subplots(1, len(self.fields), squeeze=False)[0]
        for cell, (name, field) in zip(axes, self.fields.items(), strict=True):
            bare(cell, f"{name}: 99 % in {area_ratio(field, 0.99):.1%} of the area")
            image = cell.imshow(
                np.log10(np.maximum(field, _DARK)), cmap="magma", vmin=np.log10(_DARK), vmax=0,
                interpolation="nearest",
            )  # fmt: skip
        figure.colorbar(image, ax=axes, shrink=0.8, label="log10 of contribution")
        return figure


def receptive_field(
    networks: Mapping[str, nn.Module],
    pictures: Sequence[Pixels],
    side: int | None = None,
    progress: Callable[[], None] | None = None,
) -> ReceptiveField:
    """The effective receptive fields of networks over the middles of the same pictures.

    Any restoration network will do. A contribution is the absolute derivative of the output's
    middle pixels with respect to an input pixel, summed over colors, the mean over pictures.

    Args:
        networks: networks by the names under which they are shown.
        pictures: RGB or gray, see :class:`Subject`; inputs of the networks.
        side: side of the middle; every network must take it unpadded. By default that of
            :func:`common_side`.
        progress: called after every picture of every network.

    Raises:
        FindingError: a picture is smaller than that, or ``side`` does not suit a network.
        ContractError: a network does not restore single pictures.

    Examples:
        >>> import mambair, numpy as np
        >>> from mambair.findings import receptive_field
        >>> picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
        >>> field = receptive_field({"x2": mambair.load("tiny_x2").net}, [picture], side=32)
        >>> field.fields["x2"].shape
        (32, 32)
    """
    if not networks or not pictures:
        raise FindingError("a receptive field needs a network and a picture at least")
    if side is None:
        side = common_side(networks.values(), pictures)
    subjects: dict[str, list[Subject]] = {name: [] for name in networks}
    for name, net in networks.items():
        for number, picture in enumerate(pictures, start=1):
            try:
                subjects[name].append(subject_of(net, picture, side))
            except FindingError as error:
                raise FindingError(f"picture {number}, {name}: {error}") from error
    fields = {}
    for name, each in subjects.items():
        total = np.zeros((side, side))
        for subject in each:
            total += _contributions(subject).numpy()
            if progress is not None:
                progress()
        fields[name] = total / total.max()
    return ReceptiveField(fields, len(pictures))


def common_side(networks: Iterable[nn.Module], pictures: Iterable[Pixels]) -> int:
    """The longest side up to 96 pixels that all networks take unpadded and all pictures have.

    Networks that take no less get more.

    Args:
        networks: at least one.
        pictures: without any, the side depends on the networks alone.

    Raises:
        FindingError: there is none.
        ContractError: a network does not restore single pictures.
    """
    multiples, leasts = zip(*map(unpadded_sides, networks), strict=True)
    step: int = math.lcm(*multiples)
    least = math.ceil(max(leasts) / step) * step
    side: int = max(DEFAULT_SIDE // step * step, least)
    room = min((min(picture.shape[:2]) for picture in pictures), default=side)
    if room < least:
        raise FindingError(
            f"a receptive field needs {least}×{least} pixels here, and the smallest picture has "
            f"a side of {room}"
        )
    return min(side, room // step * step)


def subject_of(net: nn.Module, picture: Pixels, side: int) -> Subject:
    """The middle of a picture over which a receptive field is computed.

    Raises:
        FindingError: the picture is smaller than ``side``, or that does not suit the network.
    """
    subject = Subject(net, picture, side)
    if subject.size != (side, side):
        raise FindingError(
            f"the picture is {picture.shape[1]}×{picture.shape[0]} pixels; {side}×{side} of it are "
            f"needed for a receptive field, and {type(net).__name__} takes "
            f"{subject.size[1]}×{subject.size[0]} of it unpadded; choose another side"
        )
    return subject


def _contributions(subject: Subject) -> Tensor:
    """``(H, W)`` of one picture."""
    x = subject.x.clone().requires_grad_()
    with torch.enable_grad():
        y = subject.net(x)
        scale = y.shape[-1] // x.shape[-1]
        top, left = (scale * (length // 2) for length in x.shape[-2:])
        middle = y[..., top : top + scale, left : left + scale].sum()
        (gradient,) = torch.autograd.grad(middle, x)
    return gradient[0].abs().sum(dim=0).double().cpu()


def area_ratio(field: NDArray[np.float64], share: float) -> float:
    """The share of the area in the smallest square around the middle that holds a share of a sum.

    Args:
        field: contributions, ``(s, s)``; the middle is at ``s // 2``.
        share: t, at most 1.

    Examples:
        >>> import numpy as np
        >>> from mambair.findings.receptive_field import area_ratio
        >>> area_ratio(np.ones((9, 9)), 0.1)  # 9 pixels of 81
        0.1111111111111111
    """
    side, wanted = len(field), share * field.sum() * (1 - 1e-12)
    middle = side // 2
    for radius in range(side):
        low, high = max(middle - radius, 0), min(middle + radius + 1, side)
        if field[low:high, low:high].sum() >= wanted:
            return (high - low) ** 2 / side**2
    return 1.0
