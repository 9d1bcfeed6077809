"""Pixels that look alike: what similar tokens are, said without any network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_RADIUS = 2  # of the patch by which a pixel is compared
_SAMPLE = 2000  # pixels that are compared with each other
_NEAREST = 8  # pairs a pixel


def patches(rgb: NDArray[np.float32]) -> Tensor:
    """The colors of the 5×5 pixels around every pixel of ``(h, w, 3)``, ``(h·w, 75)``."""
    height, width = rgb.shape[:2]
    around = np.pad(rgb, ((_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0)), mode="symmetric")
    shifts = range(2 * _RADIUS + 1)
    views = [around[y : y + height, x : x + width] for y in shifts for x in shifts]
    return torch.from_numpy(np.concatenate(views, axis=2).reshape(height * width, -1))


def pairs_alike(rgb: NDArray[np.float32], seed: int = 0) -> Tensor:
    """Pairs of pixels that look alike: a sample's eight nearest neighbors by patch.

    Args:
        rgb: ``(h, w, 3)``.
        seed: seed of the sample.

    Returns:
        Pixels counted in raster order, ``(P, 2)``, int64.
    """
    features = patches(rgb)
    sample = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]
    distances = torch.cdist(features[sample], features[sample])
    distances.fill_diagonal_(torch.inf)
    count = min(_NEAREST, len(sample) - 1)
    nearest = distances.topk(count, largest=False).indices
    return torch.stack([sample.repeat_interleave(count), sample[nearest.flatten()]], dim=1)


def likest(rgb: NDArray[np.float32], pixel: int, share: float) -> Tensor:
    """The pixels that look most like one of ``(h, w, 3)``, except itself: at least one.

    Args:
        rgb: the picture.
        pixel: counted in raster order.
        share: how many, of all.

    Returns:
        Pixels counted in raster order, int64.
    """
    features = patches(rgb)
    distances = (features - features[pixel]).square().sum(dim=1)
    distances[pixel] = torch.inf
    return distances.topk(max(round(share * (len(features) - 1)), 1), largest=False).indices
