"""Resizing to a random size and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation, as_range
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.resizing import METHODS, as_methods, resize


@register_degradation("random_scale")
class RandomScale(TensorDegradation):
    """Resizing by a factor that is drawn, then to 1/``scale`` of the size; clipped to [0, 1].

    What became of a picture that somebody resized before: below 1/``scale`` detail is lost, above
    it, it is resampled twice.

    Args:
        factor: factor of the sides, or the range ``[low, high]`` to draw it from, uniformly; at
            least 0.05.
        scale: whole number by which the sides of the result are smaller.
        methods: those to draw both resizings from, all equally likely.
        antialias: widen the kernels of bilinear and bicubic by the scale when shrinking.
    """

    crops_exactly = False  # the grid of the pixels in between begins at the crop's corner
    halo = 8
    examples = (
        {"factor": [0.3, 1.5], "scale": 1},
        {"factor": 0.7, "scale": 2, "methods": ["bicubic"], "antialias": True},
    )
    identity = ({"factor": 1, "scale": 1},)

    def __init__(
        self,
        factor: float | Sequence[float],
        scale: int,
        methods: Sequence[str] = METHODS,
        antialias: bool = False,
    ) -> None:
        self.range = as_range(factor, "factor")
        if not 0.05 <= self.range[0] <= self.range[1] <= 8:
            raise ValueError(f"factor: must be between 0.05 and 8, got {factor}")
        if scale < 1 or int(scale) != scale:
            raise ValueError(f"scale: must be a whole number of at least 1, got {scale}")
        self.factor = int(scale)
        self.methods = as_methods(methods)
        self.antialias = antialias

    def draw(self, rng: np.random.Generator) -> Drawn:
        first, second = (self.methods[int(n)] for n in rng.integers(len(self.methods), size=2))
        return {"factor": float(rng.uniform(*self.range)), "methods": [first, second]}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        sides = images.shape[-2:]
        results = []
        for image, each in zip(images, drawn, strict=True):
            height, width = (max(1, int(side * each["factor"])) for side in sides)
            first, second = each["methods"]
            image = resize(image[None], height, width, first, self.antialias)
            height, width = (side // self.factor for side in sides)
            results.append(resize(image, height, width, second, self.antialias))
        return torch.cat(results).clamp(0, 1)
