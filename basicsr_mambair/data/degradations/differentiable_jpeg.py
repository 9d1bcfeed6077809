"""JPEG computed by tensor operators: on any device, with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad, pixel_shuffle, pixel_unshuffle

from basicsr_mambair.data.degradations.degradation import Drawn, TensorDegradation, as_range
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.ycbcr import to_rgb, to_ycbcr

# Tables of ITU-T T.81, annex K, in rows.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
_BLOCK = 8
_LEAST_FACTOR = 0.01  # of the tables; at quality 100 they would be 0


def _cubic(x: Tensor) -> Tensor:
    nearest = x.round()
    return nearest + (x - nearest) ** 3


def _straight(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "round": torch.round,
    "cubic": _cubic,
    "straight": _straight,
}


@register_degradation("differentiable_jpeg")
class DifferentiableJpeg(TensorDegradation):
    """JPEG at 4:2:0 by :func:`jpeg_of_batch`, without a file: on any device, clipped to [0, 1].

    Args:
        quality: from 1 to 100, or the range ``[low, high]`` to draw it from, uniformly; it need not
            be whole.
        rounding: of the coefficients: ``round``, ``cubic`` or ``straight``.
        transposed: use the tables as BasicSR's ``DiffJPEG`` does.
    """

    grid = 16
    examples = ({"quality": 30}, {"quality": [30, 95]}, {"quality": 50, "rounding": "cubic"})

    def __init__(
        self,
        quality: float | Sequence[float],
        rounding: str = "round",
        transposed: bool = False,
    ) -> None:
        self.quality = as_range(quality, "quality")
        if not 1 <= self.quality[0] <= self.quality[1] <= 100:
            raise ValueError(f"quality: must be between 1 and 100, got {quality}")
        if rounding not in ROUNDINGS:
            raise ValueError(f"rounding: must be among {', '.join(ROUNDINGS)}, got {rounding!r}")
        self.rounding = rounding
        self.transposed = transposed

    def draw(self, rng: np.random.Generator) -> Drawn:
        return {"quality": float(rng.uniform(*self.quality))}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        quality = [each["quality"] for each in drawn]
        return jpeg_of_batch(images, quality, self.rounding, self.transposed)


def jpeg_of_batch(
    images: Tensor, quality: Sequence[float], rounding: str = "round", transposed: bool = False
) -> Tensor:
    """Compresses and decompresses pictures as JPEG does, except for the entropy coding.

    Color at 4:2:0, chroma enlarged by repeating, the tables of annex K scaled as libjpeg scales
    them but not rounded, sides filled up to multiples of 16 with black. With ``transposed``, it
    agrees with BasicSR's ``DiffJPEG``, of which ``differentiable=True`` is ``cubic``.

    Args:
        images: ``(B, 3, H, W)`` in RGB or ``(B, 1, H, W)``, in [0, 1].
        quality: one number from 1 to 100 for each picture.
        rounding: ``round`` has no gradient; ``cubic`` adds the cube of the rounding error (Shin and
            Song, 2017), whose gradient is small; ``straight`` rounds and passes the gradient on.
        transposed: exchange rows and columns of the tables, as BasicSR's ``DiffJPEG`` does; only
            the table of luma is not symmetric.

    Returns:
        Pictures of the same shape, in [0, 1].
    """
    height, width = images.shape[-2:]
    filled = pad(images, (0, -width % 16, 0, -height % 16)) * 255
    factors = torch.tensor([_factor(each) for each in quality]).to(images)[:, None, None, None]
    luma_table = "luma_transposed" if transposed else "luma"
    if images.shape[1] == 1:
        result = _quantize(filled - 128, factors, luma_table, rounding) + 128
    else:
        ycbcr = to_ycbcr(filled)
        luma = _quantize(ycbcr[:, :1] - 128, factors, luma_table, rounding) + 128
        chroma = _quantize(avg_pool2d(ycbcr[:, 1:], 2), factors, "chroma", rounding)
        result = to_rgb(torch.cat([luma, interpolate(chroma, scale_factor=2.0)], dim=1))
    return result[..., :height, :width].clamp(0, 255) / 255


def _factor(quality: float) -> float:
    """The factor of the tables, as libjpeg has it."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return max(percent / 100, _LEAST_FACTOR)


def _quantize(channels: Tensor, factors: Tensor, kind: str, rounding: str) -> Tensor:
    """Rounds the DCT coefficients of ``(B, C, H, W)`` to multiples of the scaled table."""
    batch, count, height, width = channels.shape
    transform, table = (each.to(channels) for each in _constants(kind))
    # Each block of 8 × 8 becomes the 64 channels of one pixel.
    blocks = pixel_unshuffle(channels.reshape(batch * count, 1, height, width), _BLOCK)
    coefficients = torch.matmul(transform, blocks.flatten(2)).reshape(batch, count, 64, -1)
    steps = factors * table[:, None]
    rounded = (ROUNDINGS[rounding](coefficients / steps) * steps).reshape(batch * count, 64, -1)
    blocks = torch.matmul(transform.T, rounded).reshape(blocks.shape)
    return pixel_shuffle(blocks, _BLOCK).reshape(channels.shape)


@cache
def _constants(kind: str) -> tuple[Tensor, Tensor]:
    """The orthonormal DCT of a flattened block, ``(64, 64)``, and a table, ``(64,)``."""
    number = torch.arange(_BLOCK, dtype=torch.float64)
    cosines = torch.cos((2 * number + 1) * number[:, None] * math.pi / (2 * _BLOCK)) / 2
    cosines[0] /= math.sqrt(2)
    if kind != "chroma":
        table = torch.tensor(_LUMA, dtype=torch.float64)
        table = table.T if kind == "luma_transposed" else table
    else:
        table = torch.full((_BLOCK, _BLOCK), 99.0, dtype=torch.float64)
        table[:4, :4] = torch.tensor(_CHROMA_CORNER)
    return torch.kron(cosines, cosines), table.flatten()
