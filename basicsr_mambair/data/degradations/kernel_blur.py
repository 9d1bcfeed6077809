"""Blur by a kernel that is drawn for every picture."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation

Kernel = NDArray[np.float64]

LARGEST_SIZE = 127
"""Largest side of a kernel; larger ones cost more than they show."""

_NOTHING = 2.0**-26  # of the largest value: four times below the precision of float32
_SMALLEST_PAIR = 5  # one pass with a smaller kernel is faster than two
_SMALLEST_SPECTRUM = 9  # Fourier transforms of a picture cost as much as this side of a kernel


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

    To float32 precision; what a kernel holds below it is not computed: borders that are next to
    nothing are cut off, and a kernel that is a column times a row is applied as these two.

    Args:
        images: ``(B, C, H, W)``.
        kernels: B kernels of odd sides, which may differ in size.
    """
    passes = [_passes(kernel) for kernel in kernels]
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for number, each in enumerate(passes):
        groups.setdefault(tuple(kernel.shape for kernel in each), []).append(number)
    if len(groups) == 1:
        return _convolve_alike(images, passes)
    filtered = torch.empty_like(images)
    for numbers in groups.values():
        filtered[numbers] = _convolve_alike(images[numbers], [passes[n] for n in numbers])
    return filtered


def _passes(kernel: Kernel) -> tuple[Kernel, ...]:
    """Returns kernels of odd sides which, one after the other, are the kernel."""
    radius = len(kernel) // 2
    offsets = np.abs(np.argwhere(np.abs(kernel) > _NOTHING * np.abs(kernel).max()) - radius)
    cut = radius - int(offsets.max())
    kernel = kernel[cut : len(kernel) - cut, cut : len(kernel) - cut]
    if len(kernel) < _SMALLEST_PAIR:
        return (kernel,)
    columns, strengths, rows = np.linalg.svd(kernel)
    if strengths[1] > _NOTHING * strengths[0]:
        return (kernel,)
    root = math.sqrt(strengths[0])
    return (root * columns[:, :1], root * rows[:1])


def _convolve_alike(images: Tensor, passes: Sequence[tuple[Kernel, ...]]) -> Tensor:
    """Filters pictures ``(B, C, H, W)`` with kernels of the same sizes."""
    radius = max(max(kernel.shape) for kernel in passes[0]) // 2
    filtered = mirror(images, radius)
    for kernels in zip(*passes, strict=True):
        weights = torch.from_numpy(np.stack(kernels)).to(images)
        if min(weights.shape[-2:]) < _SMALLEST_SPECTRUM:
            filtered = _correlate(filtered, weights)
        else:
            filtered = _correlate_spectra(filtered, weights)
    return filtered


def _correlate(images: Tensor, kernels: Tensor) -> Tensor:
    """Correlates ``(B, C, H, W)`` with ``(B, K, L)``, where the kernels fit into the pictures."""
    batch, channels, height, width = images.shape
    weights = kernels.repeat_interleave(channels, dim=0)[:, None]
    stacked = images.reshape(1, batch * channels, height, width)
    filtered = torch.nn.functional.conv2d(stacked, weights, groups=batch * channels)
    return filtered.reshape(batch, channels, *filtered.shape[-2:])


def _correlate_spectra(images: Tensor, kernels: Tensor) -> Tensor:
    """As :func:`_correlate`, by the product of Fourier transforms."""
    height, width = images.shape[-2:]
    side = kernels.shape[-1]
    size = [next_fast_len(length, real=True) for length in (height, width)]
    spectra = torch.fft.rfft2(images, s=size)
    spectra *= torch.fft.rfft2(kernels.flip(-2, -1)[:, None], s=size)
    filtered: Tensor = torch.fft.irfft2(spectra, s=size)
    # What is wrapped around the borders lies in the rows and columns that are cut off.
    return filtered[..., side - 1 : height, side - 1 : width]


def mirror(images: Tensor, radius: int) -> Tensor:
    """Pads ``(B, C, H, W)`` by reflection, also where a picture is smaller than ``radius``."""
    while radius:
        step = min(radius, images.shape[-2] - 1, images.shape[-1] - 1)
        if step < 1:  # a side of one pixel has nothing to mirror
            return torch.nn.functional.pad(images, (radius,) * 4, mode="replicate")
        images = torch.nn.functional.pad(images, (step,) * 4, mode="reflect")
        radius -= step
    return images
