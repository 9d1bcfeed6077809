"""Noise of a camera's sensor, seen through its development."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import (
    Drawn,
    TensorDegradation,
    as_range,
    branch,
    noise_tensor,
    stream,
)
from basicsr_mambair.data.degradations.registry import register_degradation

_GAMMA = 2.2
_DARKEST = 1e-8  # below it, the slope of the gamma curve has no bound
_RED_GAIN, _BLUE_GAIN = (1.9, 2.4), (1.5, 1.9)


@register_degradation("camera_noise")
class CameraNoise(TensorDegradation):
    """Shot and read noise in a linear space, then white balance, gamma and tone curve; clipped.

    The picture is taken back to linear light x before white balance, gets Gaussian noise of
    variance shot · x + read, and is developed again: gains, gamma 2.2, tone curve 3t² − 2t³.
    Source: Brooks et al., Unprocessing Images for Learned Raw Denoising (CVPR 2019), sections 3
    and 4, whose levels and gains are the defaults; without its color matrix and mosaic.

    Args:
        shot: variance per unit of light, or the range ``[low, high]`` to draw it from, uniformly in
            its logarithm (uniformly if it begins at 0).
        read: variance in the dark, or its range, drawn likewise. By default it follows ``shot`` as
            in real cameras: log read = 2.18 log shot + 1.2, with a standard deviation of 0.26.
        white_balance: draw gains of red (1.9 to 2.4) and blue (1.5 to 1.9), whose noise they
            enlarge; otherwise they are 1.
    """

    examples = ({}, {"shot": 0.01, "read": 0.001}, {"shot": [0, 0.02], "white_balance": False})
    identity = ({"shot": 0, "read": 0},)

    def __init__(
        self,
        shot: float | Sequence[float] = (0.0001, 0.012),
        read: float | Sequence[float] | None = None,
        white_balance: bool = True,
    ) -> None:
        self.shot = as_range(shot, "shot")
        self.read = None if read is None else as_range(read, "read")
        self.white_balance = white_balance

    def draw(self, rng: np.random.Generator) -> Drawn:
        shot = _log_uniform(rng, *self.shot)
        if self.read is not None:
            read = _log_uniform(rng, *self.read)
        else:
            spread = rng.normal(0, 0.26)
            read = math.exp(2.18 * math.log(shot) + 1.2 + spread) if shot > 0 else 0.0
        gains = [1.0, 1.0, 1.0]
        if self.white_balance:
            gains = [float(rng.uniform(*_RED_GAIN)), 1.0, float(rng.uniform(*_BLUE_GAIN))]
        return {"shot": shot, "read": read, "gains": gains, "noise": branch(rng)}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        channels, height, width = images.shape[1:]
        white = torch.cat(
            [
                noise_tensor(stream(each["noise"]).normal(size=(height, width, channels)), images)
                for each in drawn
            ]
        ).to(images)
        # Gray pictures are green: their gain is 1.
        gains = [each["gains"] if channels == 3 else each["gains"][1:2] for each in drawn]
        gain = torch.tensor(gains).to(images)[:, :, None, None]
        shot, read = (
            torch.tensor([each[name] for each in drawn]).to(images)[:, None, None, None]
            for name in ("shot", "read")
        )
        linear = to_linear(images) / gain
        noisy = linear + white * (shot * linear + read).sqrt()
        return from_linear((noisy * gain).clamp(0, 1))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    number = rng.random()
    if low == 0:
        return float(high * number)
    return float(low * (high / low) ** number)


def to_linear(images: Tensor) -> Tensor:
    """Takes back the tone curve and gamma of pictures in [0, 1]."""
    # The root of 3t² − 2t³ = y in [0, 1].
    toned = 0.5 - torch.sin(torch.asin(1 - 2 * images.clamp(0, 1)) / 3)
    return toned.clamp(0, 1) ** _GAMMA


def from_linear(images: Tensor) -> Tensor:
    """Applies gamma and the tone curve to linear light in [0, 1]."""
    toned = images.clamp(min=_DARKEST) ** (1 / _GAMMA)
    return (3 - 2 * toned) * toned**2
