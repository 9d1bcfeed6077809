"""YCbCr of JFIF (BT.601, full range) for batches."""

from __future__ import annotations

import torch
from torch import Tensor

# Rows: Y, Cb, Cr of R, G, B.
_FORWARD = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
# Rows: R, G, B of Y, Cb, Cr.
_BACKWARD = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def to_ycbcr(images: Tensor) -> Tensor:
    """``(B, 3, H, W)`` in RGB as YCbCr; chroma is centered on 0."""
    return _mix(images, _FORWARD)


def to_rgb(images: Tensor) -> Tensor:
    """``(B, 3, H, W)`` in YCbCr, chroma centered on 0, as RGB; not clipped."""
    return _mix(images, _BACKWARD)


def _mix(images: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    weights = torch.tensor(rows).to(images)
    return torch.nn.functional.conv2d(images, weights[:, :, None, None])
