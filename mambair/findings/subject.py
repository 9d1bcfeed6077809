"""What a finding is about: a network, and a picture that it takes whole."""

from __future__ import annotations

import math
import operator
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mambair.archs.contract import contract_of
from mambair.findings.finding import FindingError
from mambair.findings.recording import RecordedScan, record_scans
from mambair.imaging.pixels import Pixels
from mambair.inference.kinds import array_of_pil, check_array, refusal
from mambair.inference.restorer import Restorer

DEFAULT_SIDE = 256  # a map of so many tokens squared is computed in seconds


class Subject:
    """A network and the middle of a picture, cut so that the network does not pad it.

    Args:
        net: a restoration network, or a model as of :func:`mambair.load`, whose network is taken;
            it is set to ``eval()``.
        picture: RGB or gray, ``(H, W)`` or ``(H, W, C)``, uint8, uint16 or float in [0, 1], or a
            PIL picture; the input of the network. An alpha channel is left out.
        side: larger pictures are cut to their middle of this side; ``None``: none is cut more than
            the network needs.

    Attributes:
        net: the network.
        x: the input of the network, ``(1, in_chans, H, W)`` in [0, 1].
        rgb: the same as float32 ``(H, W, 3)``, to draw on.
        whole: height and width of the picture as it was given.
        left: where the part begins in the picture, in pixels.
        top: where the part begins in the picture, in pixels.
        least: the least side that the network takes unpadded.

    Raises:
        PictureError: it is not a picture.
        FindingError: the picture is smaller than the least that the network takes unpadded.
        ContractError: the network does not restore single pictures.
    """

    def __init__(
        self,
        net: nn.Module | Restorer,
        picture: Pixels | Image.Image,
        side: int | None = DEFAULT_SIDE,
    ) -> None:
        net = net.net if isinstance(net, Restorer) else net
        picture = array_of_pil(picture) if isinstance(picture, Image.Image) else picture
        if not isinstance(picture, np.ndarray):
            raise refusal(picture)
        check_array(picture)
        multiple, self.least = unpadded_sides(net)
        height, width = (_cut(length, side, multiple) for length in picture.shape[:2])
        if min(height, width) < self.least:
            raise FindingError(
                f"the picture is {picture.shape[1]}×{picture.shape[0]} pixels (side: {side}); "
                f"{type(net).__name__} needs {self.least}×{self.least} here, without padding"
            )
        self.top, self.left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        cut = _rgb(picture)[self.top : self.top + height, self.left : self.left + width]
        self.whole: tuple[int, int] = (picture.shape[0], picture.shape[1])
        self.net = net.eval()
        self.rgb: NDArray[np.float32] = np.ascontiguousarray(cut)
        planes: Pixels = self.rgb
        if contract_of(net).in_chans == 1:
            planes = np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY))
        first = next(net.parameters())
        x = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(planes).transpose(2, 0, 1)))
        self.x: Tensor = x[None].to(first.device, first.dtype)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @cached_property
    def scans(self) -> list[RecordedScan]:
        """The scans of all blocks, in the order in which they run.

        Raises:
            NotApplicableError: the network has none.
        """
        return record_scans(self.net, self.x)

    def middle(self, side: int) -> Subject:
        """The same network with the middle of the picture alone; no smaller than it takes."""
        return Subject(self.net, self.rgb, max(side, self.least))

    def locate(self, x: int, y: int) -> tuple[int, int]:
        """Column and row in the part that is looked at.

        Args:
            x: column in the picture as it was given.
            y: row, likewise.

        Raises:
            FindingError: the pixel is not in the part; names it.
            TypeError: a coordinate is not a whole number.
        """
        height, width = self.size
        left, top = operator.index(x) - self.left, operator.index(y) - self.top
        if not (0 <= left < width and 0 <= top < height):
            raise FindingError(
                f"pixel {x},{y} is outside the part of the picture that is looked at: columns "
                f"{self.left} to {self.left + width - 1}, rows {self.top} to "
                f"{self.top + height - 1}"
            )
        return left, top

    def at(self, scan: RecordedScan) -> NDArray[np.float32]:
        """The picture at the size of a scan's token map, ``(h, w, 3)``."""
        if self.size == (scan.height, scan.width):
            return self.rgb
        size = (scan.width, scan.height)
        return np.asarray(cv2.resize(self.rgb, size, interpolation=cv2.INTER_AREA), np.float32)


def unpadded_sides(net: nn.Module) -> tuple[int, int]:
    """What sides a network takes without padding: multiples of the first, none below the second.

    Raises:
        ContractError: the network does not restore single pictures.
    """
    contract = contract_of(net)
    multiple = math.lcm(contract.size_multiple, getattr(net, "padded_to", 1))
    return multiple, max(multiple, contract.minimum_size)


def _cut(length: int, side: int | None, multiple: int) -> int:
    return (length if side is None else min(length, side)) // multiple * multiple


def _rgb(picture: Pixels) -> NDArray[np.float32]:
    """Float RGB ``(H, W, 3)`` in [0, 1], without alpha."""
    top = np.iinfo(picture.dtype).max if np.issubdtype(picture.dtype, np.integer) else 1
    planes: NDArray[np.float32] = np.atleast_3d(picture).astype(np.float32) / np.float32(top)
    planes = planes[..., :-1] if planes.shape[2] in (2, 4) else planes
    return np.repeat(planes, 3, axis=2) if planes.shape[2] == 1 else planes
