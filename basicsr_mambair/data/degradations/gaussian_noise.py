"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import (
    Drawn,
    PictureDegradation,
    as_probability,
    as_range,
    branch,
    noise_tensor,
    stream,
)
from basicsr_mambair.data.degradations.registry import register_degradation
from mambair.imaging.pixels import Pixels, to_float


@register_degradation("gaussian_noise")
class GaussianNoise(PictureDegradation):
    """Additive white Gaussian noise, neither clipped nor quantized: the result is float32.

    Args:
        sigma: standard deviation in gray levels of 255, or the range ``[low, high]`` to draw it
            from, uniformly.
        gray_probability: of noise that is the same in all colors.
    """

    bounded = False
    examples = ({"sigma": 25}, {"sigma": [5, 50]}, {"sigma": 10, "gray_probability": 1})
    identity = ({"sigma": 0},)

    def __init__(self, sigma: float | Sequence[float], gray_probability: float = 0.0) -> None:
        self.low, self.high = as_range(sigma, "sigma")
        self.gray_probability = as_probability(gray_probability, "gray_probability")

    def draw(self, rng: np.random.Generator) -> Drawn:
        drawn = {"sigma": float(rng.uniform(self.low, self.high))}
        if self.gray_probability:
            drawn["gray"] = bool(rng.random() < self.gray_probability)
        return drawn | {"noise": branch(rng)}

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        return (to_float(image) + _noise(drawn, *image.shape)).astype(np.float32)

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        """Adds the same noise as :meth:`apply`, drawn on the CPU, on the device of the pictures."""
        channels, height, width = images.shape[1:]
        noise = [noise_tensor(_noise(each, height, width, channels), images) for each in drawn]
        return (images.to(noise[0].dtype) + torch.cat(noise)).float()


def _noise(drawn: Drawn, height: int, width: int, channels: int) -> NDArray[np.float64]:
    shape = (height, width, 1 if drawn.get("gray") else channels)
    noise = stream(drawn["noise"]).normal(0, drawn["sigma"] / 255, shape)
    return np.broadcast_to(noise, (height, width, channels))
