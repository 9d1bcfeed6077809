"""One of several degradations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Degradation, Drawn
from basicsr_mambair.data.degradations.registry import build_part, register_degradation
from mambair.imaging.pixels import Pixels


@register_degradation("one_of")
class OneOf(Degradation):
    """One of several degradations, drawn for every picture; all must shrink by the same factor.

    Args:
        parts: the degradations; each may be a list of them, applied in order.
        scale: passed on to those that have such an argument, unless their sections set it.
        probabilities: one for each part, of sum 1; by default all are equally likely.
    """

    nested = ("parts",)
    examples = (
        {
            "parts": [{"type": "jpeg", "quality": 30}, {"type": "webp", "quality": 30}],
            "probabilities": [0.75, 0.25],
            "scale": 1,
        },
        {"parts": ["bicubic", [{"type": "isotropic_blur", "sigma": 1, "size": 7},
                               "random_downscale"]], "scale": 2},
    )  # fmt: skip

    def __init__(
        self,
        parts: Sequence[Degradation | Mapping[str, Any] | Sequence[Any] | str],
        scale: int = 1,
        probabilities: Sequence[float] | None = None,
    ) -> None:
        if isinstance(parts, (str, Mapping)) or not parts:
            raise ValueError(f"parts: must be a list of degradations, got {parts!r}")
        self.parts = [
            build_part(part, scale, f"parts.{number}") for number, part in enumerate(parts)
        ]
        factors = sorted({part.factor for part in self.parts})
        if len(factors) > 1:
            raise ValueError(f"parts: must all shrink by the same factor, but shrink by {factors}")
        self.probabilities = _probabilities(probabilities, len(self.parts))
        self.factor = factors[0]
        self.halo = max(part.halo for part in self.parts)
        self.grid = math.lcm(*(part.grid for part in self.parts))
        self.bounded = all(part.bounded for part in self.parts)
        self.crops_exactly = all(part.crops_exactly for part in self.parts)

    def draw(self, rng: np.random.Generator) -> Drawn:
        number = int(rng.choice(len(self.parts), p=self.probabilities))
        return {"part": number, "drawn": self.parts[number].draw(rng)}

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        return self.parts[drawn["part"]].apply(image, drawn["drawn"])

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        results: list[Tensor] = [images] * len(drawn)
        for number, part in enumerate(self.parts):
            chosen = [place for place, each in enumerate(drawn) if each["part"] == number]
            if not chosen:
                continue
            degraded = part.apply_batch(images[chosen], [drawn[n]["drawn"] for n in chosen])
            for place, result in zip(chosen, degraded, strict=True):
                results[place] = result
        return torch.stack(results)


def _probabilities(given: Sequence[float] | None, count: int) -> list[float] | None:
    if given is None:
        return None
    if len(given) != count or min(given) < 0 or not math.isclose(sum(given), 1, abs_tol=1e-6):
        raise ValueError(
            f"probabilities: must be {count} numbers of at least 0 and of sum 1, got {list(given)}"
        )
    return [each / sum(given) for each in given]
