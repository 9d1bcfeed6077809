"""Compression by a codec with a quality from 1 to 100."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from basicsr_mambair.data.degradations.degradation import Drawn, PictureDegradation, as_range
from mambair.imaging.pixels import Pixels, to_uint8


class Codec(PictureDegradation):
    """Compression and decompression at 4:2:0; the result is uint8.

    Args:
        quality: from 1 to 100, or the range ``[low, high]`` to draw it from.
    """

    # Blocks of 8 pixels, of 16 for the halved chroma, which is interpolated from its neighbors.
    halo = 16
    grid = 16
    examples = ({"quality": 10}, {"quality": [10, 90]})

    def __init__(self, quality: int | Sequence[int]) -> None:
        self.low, self.high = (int(q) for q in as_range(quality, "quality"))
        if not 1 <= self.low <= self.high <= 100:
            raise ValueError(f"quality: must be between 1 and 100, got {quality}")

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"quality": int(rng.integers(self.low, self.high + 1))}

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        return self.compress(to_uint8(image), drawn["quality"])

    @staticmethod
    @abstractmethod
    def compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
        """Compresses and decompresses ``(H, W, 1)`` or ``(H, W, 3)`` BGR."""
