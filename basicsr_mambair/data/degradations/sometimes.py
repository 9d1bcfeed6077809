"""A degradation that only some pictures get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Degradation, Drawn, as_probability
from basicsr_mambair.data.degradations.registry import build_part, register_degradation
from mambair.imaging.pixels import Pixels


@register_degradation("sometimes")
class Sometimes(Degradation):
    """A degradation that a picture gets with a probability; it must keep the size.

    Args:
        part: the degradation, or a list of them, applied in order.
        probability: of being applied, in [0, 1].
    """

    nested = ("part",)
    examples = (
        {"part": {"type": "jpeg", "quality": 30}, "probability": 0.5},
        {"part": [{"type": "isotropic_blur", "sigma": 1, "size": 7}, "sharpen"], "probability": 1},
    )
    identity = ({"part": {"type": "jpeg", "quality": 30}, "probability": 0},)

    def __init__(
        self,
        part: Degradation | Mapping[str, Any] | Sequence[Any] | str,
        probability: float,
    ) -> None:
        self.part = build_part(part, 1, "part")
        if self.part.factor != 1:
            raise ValueError("part: must keep the size of the picture")
        self.probability = as_probability(probability, "probability")
        self.halo = self.part.halo
        self.grid = self.part.grid
        self.bounded = self.part.bounded
        self.crops_exactly = self.part.crops_exactly

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
