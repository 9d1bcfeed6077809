"""Blur by a lens out of focus."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from basicsr_mambair.data.degradations.degradation import Drawn, as_range
from basicsr_mambair.data.degradations.kernel_blur import LARGEST_SIZE, Kernel, KernelBlur
from basicsr_mambair.data.degradations.registry import register_degradation

_SAMPLES = 16  # along each side of a pixel


@register_degradation("defocus_blur")
class DefocusBlur(KernelBlur):
    """Blur by a uniform disk, the image of a point that a round aperture leaves out of focus.

    Each weight is the part of its pixel that the disk covers, measured at 16 × 16 points.

    Args:
        radius: of the disk in pixels, or the range ``[low, high]`` to draw it from, uniformly; up
            to 0.5 the disk stays within one pixel.
    """

    examples = ({"radius": 2.5}, {"radius": [0, 4]})
    identity = ({"radius": 0}, {"radius": 0.5})

    def __init__(self, radius: float | Sequence[float]) -> None:
        self.radius = as_range(radius, "radius")
        size = len(disk_kernel(min(self.radius[1], LARGEST_SIZE)))
        if size > LARGEST_SIZE:
            raise ValueError(f"radius: must be at most {LARGEST_SIZE // 2}, got {radius}")
        super().__init__(size)

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"radius": float(rng.uniform(*self.radius))}

    def kernel(self, drawn: Drawn) -> Kernel:
        return disk_kernel(drawn["radius"])


def disk_kernel(radius: float) -> Kernel:
    """Returns the kernel of sum 1 of a disk of ``radius`` pixels."""
    side = 2 * math.ceil(max(radius - 0.5, 0)) + 1
    # Points inside the pixels, at equal distances.
    points = (np.arange(side * _SAMPLES) + 0.5) / _SAMPLES - side / 2
    covered = points[:, None] ** 2 + points**2 <= max(radius, 0.5) ** 2
    kernel: Kernel = covered.reshape(side, _SAMPLES, side, _SAMPLES).mean((1, 3))
    kernel /= kernel.sum()
    return kernel
