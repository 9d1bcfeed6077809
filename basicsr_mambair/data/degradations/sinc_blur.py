"""Ringing and overshoot by an ideal low-pass filter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import j1
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, as_range
from basicsr_mambair.data.degradations.kernel_blur import Kernel, KernelBlur
from basicsr_mambair.data.degradations.registry import register_degradation


@register_degradation("sinc_blur")
class SincBlur(KernelBlur):
    """A circular low-pass filter, whose ringing resembles oversharpening; clipped to [0, 1].

    The kernel is ω J₁(ω |d|) / (2π |d|) at the pixels' offsets d, ω² / 4π in the center, divided by
    its sum: Wang et al., Real-ESRGAN (ICCVW 2021), equation 6; BasicSR's
    ``circular_lowpass_kernel``.

    Args:
        cutoff: ω in radians per pixel, at most π, or the range ``[low, high]`` to draw it from,
            uniformly.
        size: side of the kernel, odd, or a range of odd sides to draw it from.
    """

    examples = ({"size": 21}, {"cutoff": 2.0, "size": 13}, {"size": [7, 21]})
    identity = ({"cutoff": math.pi, "size": 1},)

    def __init__(
        self,
        cutoff: float | Sequence[float] = (math.pi / 3, math.pi),
        size: int | Sequence[int] = 21,
    ) -> None:
        super().__init__(size)
        self.cutoff = as_range(cutoff, "cutoff")
        if not 0.1 <= self.cutoff[0] <= self.cutoff[1] <= math.pi:
            raise ValueError(f"cutoff: must be between 0.1 and π, got {cutoff}")

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"size": self.draw_size(rng), "cutoff": float(rng.uniform(*self.cutoff))}

    def kernel(self, drawn: Drawn) -> Kernel:
        return sinc_kernel(drawn["size"], drawn["cutoff"])

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        return super().apply_batch(images, drawn).clamp(0, 1)


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Returns the kernel ``(size, size)`` of sum 1."""
    offsets = np.arange(size) - size // 2
    distances = np.hypot(*np.meshgrid(offsets, offsets))
    distances[size // 2, size // 2] = 1  # replaced by the limit below
    kernel: Kernel = cutoff * j1(cutoff * distances) / (2 * math.pi * distances)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    kernel /= kernel.sum()
    return kernel
