"""Degradations one after the other, and degradations that only some pictures get."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Degradation, Drawn
from mambair.imaging.pixels import Pixels


class Chain(Degradation):
    """Degradations in order; each draws for itself.

    Args:
        parts: the degradations.
    """

    def __init__(self, parts: Sequence[Degradation]) -> None:
        self.parts = list(parts)
        self.factor = math.prod(part.factor for part in self.parts)
        self.halo = sum(part.halo for part in self.parts)
        self.grid = math.lcm(*(part.grid for part in self.parts))

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


class Sometimes(Degradation):
    """A degradation that a picture gets with a probability; it must keep the size.

    Args:
        part: the degradation.
        probability: of being applied, in [0, 1].
    """

    def __init__(self, part: Degradation, probability: float) -> None:
        if part.factor != 1:
            raise ValueError("part: must keep the size of the picture")
        self.part = part
        self.probability = probability
        self.halo = part.halo
        self.grid = part.grid

    def draw(self, rng: np.random.Generator) -> Drawn:
        # Both are drawn every time, so that what follows does not depend on the decision.
        applied = bool(rng.random() < self.probability)
        own = self.part.draw(rng)
        return {"applied": own} if applied else {}

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        return self.part.apply(image, drawn["applied"]) if "applied" in drawn else image

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        chosen = [number for number, each in enumerate(drawn) if "applied" in each]
        if not chosen:
            return images
        results = self.part.apply_batch(images[chosen], [drawn[n]["applied"] for n in chosen])
        images = images.clone()
        images[torch.tensor(chosen, device=images.device)] = results.to(images.dtype)
        return images
