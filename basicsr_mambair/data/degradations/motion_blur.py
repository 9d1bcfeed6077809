"""Blur by a movement of the camera."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from basicsr_mambair.data.degradations.degradation import Drawn, as_range
from basicsr_mambair.data.degradations.kernel_blur import LARGEST_SIZE, Kernel, KernelBlur
from basicsr_mambair.data.degradations.registry import register_degradation

_STEPS_PER_PIXEL = 16


@register_degradation("motion_blur")
class MotionBlur(KernelBlur):
    """Blur by a uniform movement along a straight line, centered on the pixel.

    The kernel is the mean of bilinear interpolation at points along the line, 16 or more for each
    pixel of its length; it is symmetric about the center.

    Args:
        length: way in pixels, or the range ``[low, high]`` to draw it from, uniformly.
        angle: direction in degrees, counterclockwise from the right, or its range; 0 to 180 covers
            every direction.
    """

    examples = ({"length": 5.0, "angle": 30}, {"length": [0, 12]})
    identity = ({"length": 0},)

    def __init__(
        self, length: float | Sequence[float], angle: float | Sequence[float] = (0.0, 180.0)
    ) -> None:
        self.length = as_range(length, "length")
        self.angle = as_range(angle, "angle")
        size = 2 * math.ceil(self.length[1] / 2) + 1
        if size > LARGEST_SIZE:
            raise ValueError(f"length: must be at most {LARGEST_SIZE - 1}, got {length}")
        super().__init__(size)

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {
            "length": float(rng.uniform(*self.length)),
            "angle": float(rng.uniform(*self.angle)),
        }

    def kernel(self, drawn: Drawn) -> Kernel:
        return line_kernel(drawn["length"], drawn["angle"])


def line_kernel(length: float, angle: float) -> Kernel:
    """Returns the kernel of sum 1 of a line of ``length`` pixels at ``angle`` degrees."""
    radius = math.ceil(length / 2)
    steps = max(1, math.ceil(length * _STEPS_PER_PIXEL))
    # Middles of equal parts of the line, so that both halves weigh the same.
    ways = length * ((np.arange(steps) + 0.5) / steps - 0.5)
    x = ways * math.cos(math.radians(angle))
    y = -ways * math.sin(math.radians(angle))  # rows go down
    offsets = np.arange(-radius, radius + 1)
    across = np.clip(1 - np.abs(x[:, None] - offsets), 0, None)
    down = np.clip(1 - np.abs(y[:, None] - offsets), 0, None)
    kernel: Kernel = down.T @ across
    kernel /= kernel.sum()
    return kernel
