"""Degradations one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Degradation, Drawn
from mambair.imaging.pixels import Pixels


class Chain(Degradation):
    """Degradations in order; each draws for itself. In option files, a list.

    Args:
        parts: the degradations.
    """

    def __init__(self, parts: Sequence[Degradation]) -> None:
        self.parts = list(parts)
        self.factor = math.prod(part.factor for part in self.parts)
        self.halo = sum(part.halo for part in self.parts)
        self.grid = math.lcm(*(part.grid for part in self.parts))
        self.bounded = not self.parts or self.parts[-1].bounded
        self.crops_exactly = all(part.crops_exactly for part in self.parts)

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"parts": [part.draw(rng) for part in self.parts]}

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        for part, own in zip(self.parts, drawn["parts"], strict=True):
            image = part.apply(image, own)
        return image

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        for number, part in enumerate(self.parts):
            images = part.apply_batch(images, [each["parts"][number] for each in drawn])
        return images
