"""Sharpening of true pictures, by which Real-ESRGAN's networks learn to restore crisp ones."""

from __future__ import annotations

import functools

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr_mambair.data.degradations.kernel_blur import mirror

_SIDE = 51  # of the Gaussian kernel; σ = 8, which OpenCV derives from it


def sharpen_by_usm(images: Tensor, weight: float = 0.5, threshold: float = 10.0) -> Tensor:
    """Unsharp masking where it changes more than noise (Wang et al. 2021, arXiv 2107.10833, §3.4).

    ``m s + (1 − m) x`` with s = clip(x + w (x − G * x)) and m = G * [255 |x − G * x| > threshold],
    where G is a Gaussian of 51 × 51 pixels and σ = 8. It is BasicSR's ``USMSharp``, computed by two
    one-dimensional convolutions instead of one of 2,601 taps.

    Args:
        images: ``(B, C, H, W)`` in [0, 1]; borders are mirrored, in pictures below 26 pixels more
            than once.
        weight: w.
        threshold: in gray levels of 255.

    Returns:
        ``(B, C, H, W)`` in [0, 1].
    """
    residual = images - _blur(images)
    mask = _blur((residual.abs() * 255 > threshold).to(images.dtype))
    sharp = (images + weight * residual).clamp(0, 1)
    return mask * sharp + (1 - mask) * images


def _blur(images: Tensor) -> Tensor:
    kernel = _kernel().to(images)
    batch, channels, height, width = images.shape
    planes = mirror(images.reshape(batch * channels, 1, height, width), _SIDE // 2)
    planes = F.conv2d(planes, kernel[None, None, None])  # along rows
    planes = F.conv2d(planes, kernel[None, None, :, None])
    return planes.reshape(batch, channels, height, width)


@functools.cache
def _kernel() -> Tensor:
    return torch.from_numpy(cv2.getGaussianKernel(_SIDE, 0)[:, 0])
