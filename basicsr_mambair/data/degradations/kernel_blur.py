"""Blur by a kernel that is drawn for every picture."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation

Kernel = NDArray[np.float64]

LARGEST_SIZE = 127
"""Largest side of a kernel; larger ones cost more than they show."""


class KernelBlur(TensorDegradation):
    """Convolution with a kernel of sum 1; borders are mirrored without the edge pixel.

    Subclasses draw a size by :meth:`draw_size` and compute the kernel from the draw.

    Args:
        size: side of the kernel, odd, or the range ``[low, high]`` of odd sides to draw it from.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        low, high = size if isinstance(size, Sequence) else (size, size)
        if not 1 <= low <= high <= LARGEST_SIZE or low % 2 == 0 or high % 2 == 0:
            raise ValueError(
                f"size: must be odd and from 1 to {LARGEST_SIZE}, or a range [low, high] of such, "
                f"got {size}"
            )
        self.sizes = range(int(low), int(high) + 1, 2)
        self.halo = int(high) // 2

    def draw_size(self, rng: np.random.Generator) -> int:
        """Draws the side; a single one takes nothing from the generator."""
        return self.sizes[int(rng.integers(len(self.sizes))) if len(self.sizes) > 1 else 0]

    @abstractmethod
    def kernel(self, drawn: Drawn) -> Kernel:
        """Returns the kernel ``(K, K)``, K odd, of sum 1."""

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        return convolve(images, [self.kernel(each) for each in drawn])


def squared_distances(size: int, sigma_x: float, sigma_y: float, theta: float = 0.0) -> Kernel:
    """Returns dᵀ Σ⁻¹ d, ``(size, size)``, at the offsets d from the center.

    Σ = R(θ) diag(σ_x², σ_y²) R(θ)ᵀ, as in BasicSR's ``sigma_matrix2``.
    """
    offsets = np.arange(size) - size // 2
    x, y = np.meshgrid(offsets, offsets)
    along = x * math.cos(theta) + y * math.sin(theta)
    across = y * math.cos(theta) - x * math.sin(theta)
    least = 1e-9  # in place of a width of 0: a single pixel's
    distances: Kernel = (along / max(sigma_x, least)) ** 2 + (across / max(sigma_y, least)) ** 2
    return distances


def convolve(images: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Filters each picture of a batch with a kernel of its own.

    Args:
        images: ``(B, C, H, W)``.
        kernels: B kernels of odd sides, which may differ in size.
    """
    if any(kernel.shape != kernels[0].shape for kernel in kernels):
        largest = max(len(kernel) for kernel in kernels)
        kernels = [np.pad(kernel, (largest - len(kernel)) // 2) for kernel in kernels]
    batch, channels, height, width = images.shape
    radius = len(kernels[0]) // 2
    weights = torch.from_numpy(np.stack(kernels)).to(images)
    weights = weights.repeat_interleave(channels, dim=0)[:, None]
    padded = _mirror(images, radius).reshape(1, batch * channels, height + 2 * radius, -1)
    filtered = torch.nn.functional.conv2d(padded, weights, groups=batch * channels)
    return filtered.reshape(batch, channels, height, width)


def _mirror(images: Tensor, radius: int) -> Tensor:
    """Pads by reflection, also where the picture is smaller than the kernel."""
    while radius:
        step = min(radius, images.shape[-2] - 1, images.shape[-1] - 1)
        if step < 1:  # a side of one pixel has nothing to mirror
            return torch.nn.functional.pad(images, (radius,) * 4, mode="replicate")
        images = torch.nn.functional.pad(images, (step,) * 4, mode="reflect")
        radius -= step
    return images
