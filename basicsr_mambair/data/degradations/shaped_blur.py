"""Blurs by Gaussians whose flanks are steeper or flatter."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from basicsr_mambair.data.degradations.degradation import Drawn, as_range
from basicsr_mambair.data.degradations.kernel_blur import Kernel, KernelBlur, squared_distances


class ShapedBlur(KernelBlur):
    """Blur by a kernel f(dᵀ Σ⁻¹ d) with a shape parameter β, drawn as BasicSR draws it.

    Subclasses compute f. Σ is that of ``anisotropic_blur``.

    Args:
        sigma: width in pixels, or the range ``[low, high]`` to draw it from, uniformly.
        beta: shape, or its range. If 1 is within the range, half of the shapes are drawn below it
            and half above, uniformly.
        size: side of the kernel, odd, or a range of odd sides to draw it from.
        isotropic: the same width in all directions.
    """

    def __init__(
        self,
        sigma: float | Sequence[float],
        beta: float | Sequence[float],
        size: int | Sequence[int],
        isotropic: bool,
    ) -> None:
        super().__init__(size)
        self.sigma = as_range(sigma, "sigma")
        self.beta = as_range(beta, "beta")
        if self.beta[0] == 0:
            raise ValueError(f"beta: must be above 0, got {beta}")
        self.isotropic = isotropic

    def draw(self, rng: np.random.Generator) -> Drawn:
        drawn: Drawn = {"size": self.draw_size(rng)}
        first, second = (float(sigma) for sigma in rng.uniform(*self.sigma, 2))
        theta = float(rng.uniform(-math.pi, math.pi))
        low, high = self.beta
        if low < 1 < high:
            low, high = (low, 1) if rng.random() < 0.5 else (1, high)
        if self.isotropic:
            second, theta = first, 0.0
        drawn |= {"sigma": [first, second], "theta": theta, "beta": float(rng.uniform(low, high))}
        return drawn

    def kernel(self, drawn: Drawn) -> Kernel:
        sigma_x, sigma_y = drawn["sigma"]
        distances = squared_distances(drawn["size"], sigma_x, sigma_y, drawn["theta"])
        kernel = self.shape(distances ** drawn["beta"])
        kernel /= kernel.sum()
        return kernel

    @staticmethod
    @abstractmethod
    def shape(distances: Kernel) -> Kernel:
        """Returns f of (dᵀ Σ⁻¹ d)^β, not yet divided by its sum."""
