"""Blur by a generalized Gaussian."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basicsr_mambair.data.degradations.kernel_blur import Kernel
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.shaped_blur import ShapedBlur


@register_degradation("generalized_gaussian_blur")
class GeneralizedGaussianBlur(ShapedBlur):
    """Blur by exp(−½ (dᵀ Σ⁻¹ d)^β): sharper than a Gaussian for β < 1, flatter for β > 1.

    Σ is that of ``anisotropic_blur``. BasicSR's ``bivariate_generalized_Gaussian``; source: Wang
    et al., Real-ESRGAN (ICCVW 2021), section 3.1, after Pascal et al. (arXiv:1302.6498).

    Args:
        sigma: width in pixels, or the range ``[low, high]`` to draw it from, uniformly.
        beta: shape, or its range. If 1 is within the range, half of the shapes are drawn below it
            and half above, uniformly.
        size: side of the kernel, odd, or a range of odd sides to draw it from.
        isotropic: the same width in all directions.
    """

    examples = (
        {"sigma": 1.5, "beta": 2.0, "size": 9},
        {"sigma": [0.2, 3], "size": [7, 21]},
        {"sigma": [0.2, 3], "isotropic": True},
    )
    identity = ({"sigma": 0},)

    def __init__(
        self,
        sigma: float | Sequence[float],
        beta: float | Sequence[float] = (0.5, 4.0),
        size: int | Sequence[int] = 21,
        isotropic: bool = False,
    ) -> None:
        super().__init__(sigma, beta, size, isotropic)

    @staticmethod
    def shape(distances: Kernel) -> Kernel:
        kernel: Kernel = np.exp(-0.5 * distances)
        return kernel
