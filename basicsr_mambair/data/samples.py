"""Common parts of the datasets: crops, flips, color, and the tensors of a sample."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mambair.imaging.pixels import Pixels


def random_window(height: int, width: int, side: int, name: str) -> tuple[int, int]:
    """Returns the top left corner of a random square of ``side`` pixels.

    Raises:
        ValueError: the picture is smaller.
    """
    if height < side or width < side:
        raise ValueError(f"{name}: {height}×{width} pixels are less than the crop of {side}×{side}")
    return random.randint(0, height - side), random.randint(0, width - side)


def random_orientation(images: list[Pixels], flip: bool, rotate: bool) -> list[Pixels]:
    """Flips and rotates pictures ``(H, W, C)`` at random, all in the same way."""
    return orient(images, draw_orientation(flip, rotate))


def draw_orientation(flip: bool, rotate: bool) -> list[bool]:
    """Draws whether to flip left–right, flip up–down, and transpose, as BasicSR's ``augment``."""
    horizontal = flip and random.random() < 0.5
    vertical = rotate and random.random() < 0.5
    transpose = rotate and random.random() < 0.5
    return [horizontal, vertical, transpose]


def orient(images: list[Pixels], orientation: Sequence[bool]) -> list[Pixels]:
    """Applies what :func:`draw_orientation` drew to pictures ``(H, W, C)``."""
    horizontal, vertical, transpose = orientation
    if horizontal:
        images = [image[:, ::-1] for image in images]
    if vertical:
        images = [image[::-1] for image in images]
    if transpose:
        images = [image.transpose(1, 0, 2) for image in images]
    return [np.ascontiguousarray(image) for image in images]


def to_tensor(image: Pixels) -> Tensor:
    """Converts float ``(H, W, 3)`` BGR or ``(H, W, 1)`` to ``(C, H, W)``, RGB or gray."""
    if image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()


def normalize(tensor: Tensor, options: Mapping[str, Any]) -> Tensor:
    """Computes ``(x − mean) / std`` with the options of these names, one number per channel."""
    if options.get("mean") is None and options.get("std") is None:
        return tensor
    shape = (-1, 1, 1)
    mean = torch.tensor(options.get("mean") or 0.0, dtype=tensor.dtype).view(shape)
    std = torch.tensor(options.get("std") or 1.0, dtype=tensor.dtype).view(shape)
    return (tensor - mean) / std
