"""Poisson (shot) noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import (
    Drawn,
    TensorDegradation,
    as_probability,
    as_range,
)
from basicsr_mambair.data.degradations.registry import register_degradation


@register_degradation("poisson_noise")
class PoissonNoise(TensorDegradation):
    """Noise whose variance grows with the brightness, clipped to [0, 1].

    x + s (P(v x) / v − x): x is the picture in 255 steps, P a Poisson variable, s the strength, and
    v the number of different values in x, rounded up to a power of two. Variant of BasicSR's
    ``add_poisson_noise_pt``; source: Wang et al., Real-ESRGAN (ICCVW 2021), section 3.1.

    The numbers come from a generator of the device, so that a draw gives different, equally
    distributed noise on a CPU and on a GPU.

    Args:
        strength: s, or the range ``[low, high]`` to draw it from, uniformly.
        gray_probability: of noise that is the same in all colors, made from the luminance.
    """

    crops_exactly = False  # v depends on the whole picture
    examples = ({"strength": 1.0}, {"strength": [0.05, 3]}, {"strength": 1, "gray_probability": 1})
    identity = ({"strength": 0},)

    def __init__(self, strength: float | Sequence[float], gray_probability: float = 0.0) -> None:
        self.strength = as_range(strength, "strength")
        self.gray_probability = as_probability(gray_probability, "gray_probability")

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {
            "strength": float(rng.uniform(*self.strength)),
            "gray": bool(rng.random() < self.gray_probability),
            "seed": int(rng.integers(2**63)),
        }

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        noisy = [
            image + each["strength"] * _noise(image, each["gray"], each["seed"])
            for image, each in zip(images, drawn, strict=True)
        ]
        return torch.stack(noisy).clamp(0, 1)


def _noise(image: Tensor, gray: bool, seed: int) -> Tensor:
    """P(v x) / v − x for ``(C, H, W)``; ``(1, H, W)`` if it is gray."""
    if gray and len(image) == 3:
        weights = torch.tensor([0.2989, 0.587, 0.114]).to(image)
        image = (weights[:, None, None] * image).sum(0, keepdim=True)
    levels = (image * 255).round().clamp(0, 255)
    # How many of the 256 values occur, without sorting and without waiting for the device.
    seen = torch.zeros(256, device=image.device).index_fill_(0, levels.long().flatten(), 1)
    values = 2 ** torch.ceil(torch.log2(seen.sum()))
    generator = torch.Generator(image.device).manual_seed(seed)
    expected = levels / 255
    return torch.poisson(expected * values, generator=generator) / values - expected
