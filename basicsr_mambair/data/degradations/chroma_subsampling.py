"""Chroma at a lower resolution than luma."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.ycbcr import to_rgb, to_ycbcr

# Rows and columns that share a sample of chroma.
_LAYOUTS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2), "4:1:1": (1, 4)}
_METHODS = ("nearest", "bilinear")


@register_degradation("chroma_subsampling")
class ChromaSubsampling(TensorDegradation):
    """Chroma averaged over rectangles and enlarged again, clipped to [0, 1]; gray is kept.

    What codecs and video do to colors, without their quantization. Color space: JFIF's YCbCr.

    Args:
        layouts: those to draw from: ``4:4:4`` (all chroma), ``4:2:2``, ``4:4:0``, ``4:2:0``,
            ``4:1:1``.
        methods: how chroma is enlarged: ``nearest`` or ``bilinear``.
    """

    halo = 8
    grid = 4
    examples = ({}, {"layouts": ["4:1:1"], "methods": ["nearest"]})
    identity = ({"layouts": ["4:4:4"]},)

    def __init__(
        self, layouts: Sequence[str] = ("4:2:2", "4:2:0"), methods: Sequence[str] = _METHODS
    ) -> None:
        if not layouts or any(name not in _LAYOUTS for name in layouts):
            known = ", ".join(_LAYOUTS)
            raise ValueError(f"layouts: must be among {known}, got {list(layouts)}")
        if not methods or any(name not in _METHODS for name in methods):
            raise ValueError(f"methods: must be among {', '.join(_METHODS)}, got {list(methods)}")
        self.layouts = list(layouts)
        self.methods = list(methods)

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {
            "layout": self.layouts[int(rng.integers(len(self.layouts)))],
            "method": self.methods[int(rng.integers(len(self.methods)))],
        }

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        if images.shape[1] != 3:
            return images
        results = [
            _subsample(image[None], _LAYOUTS[each["layout"]], each["method"])
            for image, each in zip(images, drawn, strict=True)
        ]
        return torch.cat(results)


def _subsample(image: Tensor, rectangle: tuple[int, int], method: str) -> Tensor:
    rows, columns = rectangle
    if rows == columns == 1:
        return image
    height, width = image.shape[-2:]
    padding = (0, -width % columns, 0, -height % rows)
    ycbcr = torch.nn.functional.pad(to_ycbcr(image), padding, mode="replicate")
    luma, chroma = ycbcr[:, :1], ycbcr[:, 1:]
    coarse = torch.nn.functional.avg_pool2d(chroma, (rows, columns))
    size = tuple(chroma.shape[-2:])
    enlarged = torch.nn.functional.interpolate(coarse, size, mode=method)
    rgb = to_rgb(torch.cat([luma, enlarged], dim=1))[..., :height, :width]
    return rgb.clamp(0, 1)
