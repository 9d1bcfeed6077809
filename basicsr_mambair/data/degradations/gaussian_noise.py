"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basicsr_mambair.data.degradations.degradation import Degradation, as_range
from basicsr_mambair.data.degradations.registry import register_degradation
from mambair.imaging.pixels import Pixels, to_float


@register_degradation("gaussian_noise")
class GaussianNoise(Degradation):
    """Additive white Gaussian noise, neither clipped nor quantized: the result is float32.

    Args:
        sigma: standard deviation in gray levels of 255, or the range ``[low, high]`` to draw it
            from, uniformly.
    """

    examples = ({"sigma": 25}, {"sigma": [5, 50]})

    def __init__(self, sigma: float | Sequence[float]) -> None:
        self.low, self.high = as_range(sigma, "sigma")

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        sigma = rng.uniform(self.low, self.high) / 255
        noise = rng.normal(0, sigma, image.shape)
        return (to_float(image) + noise).astype(np.float32)
