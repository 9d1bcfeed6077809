"""Downscaling by a method that is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.resizing import METHODS, as_methods, resize


@register_degradation("random_downscale")
class RandomDownscale(TensorDegradation):
    """Downscaling by a method drawn for every picture, clipped to [0, 1].

    ``area`` is the mean over squares. ``bilinear`` and ``bicubic`` are PyTorch's: with
    ``antialias``, the kernel is widened by the scale and the cubic has a = −0.5, as Pillow's;
    without, it keeps its width and the cubic has a = −0.75, as OpenCV's.

    Args:
        scale: whole number by which the sides shrink.
        methods: those to draw from, all equally likely.
        antialias: widen the kernels by the scale.
    """

    halo = 4
    examples = (
        {"scale": 2},
        {"scale": 4, "methods": ["area"]},
        {"scale": 3, "methods": ["bilinear", "bicubic"], "antialias": False},
    )
    identity = ({"scale": 1},)

    def __init__(
        self, scale: int, methods: Sequence[str] = METHODS, antialias: bool = True
    ) -> None:
        if scale < 1 or int(scale) != scale:
            raise ValueError(f"scale: must be a whole number of at least 1, got {scale}")
        self.factor = int(scale)
        self.methods = as_methods(methods)
        self.antialias = antialias

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"method": self.methods[int(rng.integers(len(self.methods)))]}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        if self.factor == 1:
            return images
        resized = [
            self._shrink(image[None], each["method"])
            for image, each in zip(images, drawn, strict=True)
        ]
        return torch.cat(resized).clamp(0, 1)

    def _shrink(self, image: Tensor, method: str) -> Tensor:
        if method == "area":
            return torch.nn.functional.avg_pool2d(image, self.factor)
        height, width = (side // self.factor for side in image.shape[-2:])
        return resize(image, height, width, method, self.antialias)
