"""Blur by a kernel that is drawn for every picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation

Kernel = NDArray[np.float64]


class KernelBlur(TensorDegradation):
    """Convolution with a kernel of sum 1; borders are mirrored without the edge pixel.

    Subclasses set ``halo`` to the largest radius and compute the kernel from the draw.
    """

    @abstractmethod
    def kernel(self, drawn: Drawn) -> Kernel:
        """Returns the kernel ``(K, K)``, K odd, of sum 1."""

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        return convolve(images, [self.kernel(each) for each in drawn])


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
