"""Sharpening, as cameras and telephones do it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.anisotropic_blur import gaussian_kernel
from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation, as_range
from basicsr_mambair.data.degradations.kernel_blur import convolve
from basicsr_mambair.data.degradations.registry import register_degradation


@register_degradation("sharpen")
class Sharpen(TensorDegradation):
    """Unsharp masking, x + a (x − G_σ * x), clipped to [0, 1].

    Args:
        amount: a, or the range ``[low, high]`` to draw it from, uniformly.
        sigma: standard deviation of the blur in pixels, or its range.
    """

    halo = 6
    examples = ({"amount": 0.5, "sigma": 1.0}, {"amount": [0, 1], "sigma": [0.5, 1.5]})
    identity = ({"amount": 0}, {"sigma": 0})

    def __init__(
        self, amount: float | Sequence[float] = 0.5, sigma: float | Sequence[float] = 1.0
    ) -> None:
        self.amount = as_range(amount, "amount")
        self.sigma = as_range(sigma, "sigma")
        if self.sigma[1] > self.halo / 3:
            raise ValueError(f"sigma: must be at most {self.halo / 3:g}, got {sigma}")

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {
            "amount": float(rng.uniform(*self.amount)),
            "sigma": float(rng.uniform(*self.sigma)),
        }

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        side = 2 * self.halo + 1
        kernels = [gaussian_kernel(side, each["sigma"], each["sigma"]) for each in drawn]
        amount = torch.tensor([each["amount"] for each in drawn]).to(images)[:, None, None, None]
        return (images + amount * (images - convolve(images, kernels))).clamp(0, 1)
