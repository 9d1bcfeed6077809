"""Resizing of batches, as the degradations share it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

METHODS = ("area", "bilinear", "bicubic")


def as_methods(methods: Sequence[str]) -> list[str]:
    """Returns an option that lists methods.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    if not methods or any(name not in METHODS for name in methods):
        raise ValueError(f"methods: must be among {', '.join(METHODS)}, got {list(methods)}")
    return list(methods)


def resize(images: Tensor, height: int, width: int, method: str, antialias: bool = False) -> Tensor:
    """Resizes ``(B, C, H, W)`` to ``(B, C, height, width)``; bicubic may leave [0, 1]."""
    if images.shape[-2:] == (height, width):
        return images
    return torch.nn.functional.interpolate(
        images, (height, width), mode=method, antialias=antialias and method != "area"
    )
