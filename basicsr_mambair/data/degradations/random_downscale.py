"""Downscaling by a method that is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation
from basicsr_mambair.data.degradations.registry import register_degradation

METHODS = ("area", "bilinear", "bicubic")


@register_degradation("random_downscale")
class RandomDownscale(TensorDegradation):
    """Antialiased downscaling by a method drawn for every picture, clipped to [0, 1].

    ``bilinear`` and ``bicubic`` widen the kernel by the scale (PyTorch's ``antialias``; its cubic
    has a = −0.5, as Pillow's), ``area`` is the mean over squares.

    Args:
        scale: whole number by which the sides shrink.
        methods: those to draw from, all equally likely.
    """

    halo = 4
    examples = ({"scale": 2}, {"scale": 4, "methods": ["area"]})

    def __init__(self, scale: int, methods: Sequence[str] = METHODS) -> None:
        if scale < 1 or int(scale) != scale:
            raise ValueError(f"scale: must be a whole number of at least 1, got {scale}")
        wrong = [name for name in methods if name not in METHODS]
        if wrong or not methods:
            raise ValueError(f"methods: must be among {', '.join(METHODS)}, got {list(methods)}")
        self.factor = int(scale)
        self.methods = list(methods)

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"method": self.methods[int(rng.integers(len(self.methods)))]}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        if self.factor == 1:
            return images
        resized = [
            _shrink(image[None], self.factor, each["method"])
            for image, each in zip(images, drawn, strict=True)
        ]
        return torch.cat(resized).clamp(0, 1)


def _shrink(image: Tensor, factor: int, method: str) -> Tensor:
    if method == "area":
        return torch.nn.functional.avg_pool2d(image, factor)
    size = [side // factor for side in image.shape[-2:]]
    return torch.nn.functional.interpolate(image, size, mode=method, antialias=True)
