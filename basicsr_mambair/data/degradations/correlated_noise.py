"""Gaussian noise whose colors depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import (
    Drawn,
    TensorDegradation,
    as_range,
    branch,
    noise_tensor,
    stream,
)
from basicsr_mambair.data.degradations.registry import register_degradation


@register_degradation("correlated_noise")
class CorrelatedNoise(TensorDegradation):
    """Additive Gaussian noise with a random covariance of the colors, clipped to [0, 1].

    The covariance is σ² U diag(d) Uᵀ with a random rotation U and d uniform in [0, 1]: the general
    case of Zhang et al., BSRGAN (ICCV 2021), section 3.3. Gray pictures get its first channel.

    Args:
        sigma: σ in gray levels of 255, or the range ``[low, high]`` to draw it from, uniformly.
    """

    examples = ({"sigma": 25}, {"sigma": [5, 50]})
    identity = ({"sigma": 0},)

    def __init__(self, sigma: float | Sequence[float]) -> None:
        self.sigma = as_range(sigma, "sigma")

    def draw(self, rng: np.random.Generator) -> Drawn:
        sigma = rng.uniform(*self.sigma) / 255
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        mixing = sigma * rotation * np.sqrt(rng.uniform(size=3))
        return {"mixing": mixing.tolist(), "noise": branch(rng)}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        channels, height, width = images.shape[1:]
        noise = []
        for each in drawn:
            white = stream(each["noise"]).normal(size=(height, width, 3))
            mixed = white @ np.array(each["mixing"]).T
            noise.append(noise_tensor(mixed[..., :channels], images))
        return (images + torch.cat(noise).to(images)).clamp(0, 1)
