"""Blur by an oriented Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from basicsr_mambair.data.degradations.degradation import Drawn, as_range
from basicsr_mambair.data.degradations.kernel_blur import Kernel, KernelBlur
from basicsr_mambair.data.degradations.registry import register_degradation


@register_degradation("anisotropic_blur")
class AnisotropicBlur(KernelBlur):
    """Blur by a Gaussian whose widths along two axes and orientation are drawn.

    The kernel is exp(−½ dᵀ Σ⁻¹ d) at the pixels' offsets d, divided by its sum; Σ = R(θ)
    diag(σ₁², σ₂²) R(θ)ᵀ. Variant and orientation are those of BasicSR's
    ``bivariate_Gaussian(isotropic=False)``; source: Wang et al., Real-ESRGAN (ICCVW 2021), section
    3.1.

    Args:
        sigma: standard deviation in pixels, or the range ``[low, high]`` from which both widths
            are drawn, uniformly.
        size: side of the kernel, odd.
    """

    examples = ({"sigma": 1.5, "size": 9}, {"sigma": [0.2, 3]})

    def __init__(self, sigma: float | Sequence[float], size: int = 21) -> None:
        self.low, self.high = as_range(sigma, "sigma")
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size: must be odd and positive, got {size}")
        self.size = size
        self.halo = size // 2

    def draw(self, rng: np.random.Generator) -> Drawn:
        first, second = rng.uniform(self.low, self.high, 2)
        return {
            "sigma": [float(first), float(second)],
            "theta": float(rng.uniform(-math.pi, math.pi)),
        }

    def kernel(self, drawn: Drawn) -> Kernel:
        sigma_x, sigma_y = drawn["sigma"]
        return gaussian_kernel(self.size, sigma_x, sigma_y, drawn["theta"])


def gaussian_kernel(size: int, sigma_x: float, sigma_y: float, theta: float = 0.0) -> Kernel:
    """Returns the kernel ``(size, size)`` of sum 1; a width of 0 is a single pixel's."""
    offsets = np.arange(size) - size // 2
    x, y = np.meshgrid(offsets, offsets)
    along = x * math.cos(theta) + y * math.sin(theta)
    across = y * math.cos(theta) - x * math.sin(theta)
    least = 1e-3  # narrower Gaussians are one pixel in double precision
    exponent = (along / max(sigma_x, least)) ** 2 + (across / max(sigma_y, least)) ** 2
    kernel: Kernel = np.exp(-0.5 * exponent)
    kernel /= kernel.sum()
    return kernel
