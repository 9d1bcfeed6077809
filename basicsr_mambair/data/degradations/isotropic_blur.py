"""Blur by a round Gaussian."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basicsr_mambair.data.degradations.anisotropic_blur import gaussian_kernel
from basicsr_mambair.data.degradations.degradation import Drawn, as_range
from basicsr_mambair.data.degradations.kernel_blur import Kernel, KernelBlur
from basicsr_mambair.data.degradations.registry import register_degradation


@register_degradation("isotropic_blur")
class IsotropicBlur(KernelBlur):
    """Blur by a Gaussian of the same width in all directions.

    The kernel is exp(−|d|² / 2σ²) at the pixels' offsets d, divided by its sum, as in BasicSR's
    ``bivariate_Gaussian(isotropic=True)``.

    Args:
        sigma: standard deviation in pixels, or the range ``[low, high]`` to draw it from,
            uniformly.
        size: side of the kernel, odd, or a range of odd sides to draw it from.
    """

    examples = ({"sigma": 1.5, "size": 9}, {"sigma": [0.2, 3], "size": [7, 21]})
    identity = ({"sigma": 0},)

    def __init__(self, sigma: float | Sequence[float], size: int | Sequence[int] = 21) -> None:
        super().__init__(size)
        self.sigma = as_range(sigma, "sigma")

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"size": self.draw_size(rng), "sigma": float(rng.uniform(*self.sigma))}

    def kernel(self, drawn: Drawn) -> Kernel:
        return gaussian_kernel(drawn["size"], drawn["sigma"], drawn["sigma"])
