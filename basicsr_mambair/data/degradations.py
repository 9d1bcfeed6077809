"""Degradations: seeded, replayable operators from a picture to its low-quality version.

Every one maps uint8 or float32 pixels ``(H, W, C)`` and takes its randomness from the generator it
is given, so the same generator state gives the same picture. Float pixels are in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mambair.imaging.jpeg import jpeg
from mambair.imaging.pixels import Pixels, to_float, to_uint8
from mambair.imaging.resizing import imresize
from mambair.signatures import (
    did_you_mean,
    parameter_names,
    required_names,
    suggests_arguments,
)


class Degradation(ABC):
    """From a high-quality picture to its low-quality version.

    Attributes:
        halo: pixels of context that a result pixel needs on each side, in the low-quality picture.
        grid: the result depends on the position in squares of so many pixels of the low-quality
            picture: a crop begins and ends on their borders, or where the picture does.
    """

    halo = 0
    grid = 1

    @abstractmethod
    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Degrades ``(H, W, C)``, uint8 or float32 in [0, 1], BGR or gray."""


@suggests_arguments
class Bicubic(Degradation):
    """Downscaling by MATLAB's bicubic ``imresize``, bit-exact on uint8.

    Args:
        scale: integer factor by which the sides shrink.
    """

    halo = 4

    def __init__(self, scale: int) -> None:
        if scale < 1 or int(scale) != scale:
            raise ValueError(f"scale: must be a whole number from 1 on, got {scale}")
        self.scale = int(scale)

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        return imresize(image, 1 / self.scale)


@suggests_arguments
class GaussianNoise(Degradation):
    """Additive white Gaussian noise, neither clipped nor quantised: the result is float32.

    Args:
        sigma: standard deviation in grey levels of 255, or the range ``[low, high]`` to draw it
            from, uniformly.
    """

    def __init__(self, sigma: float | Sequence[float]) -> None:
        self.low, self.high = _as_range(sigma, "sigma")

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        sigma = rng.uniform(self.low, self.high) / 255
        noise = rng.normal(0, sigma, image.shape)
        return (to_float(image) + noise).astype(np.float32)


@suggests_arguments
class JpegCompression(Degradation):
    """JPEG compression and decompression by OpenCV (libjpeg, 4:2:0); the result is uint8.

    Args:
        quality: libjpeg quality from 1 to 100, or the range ``[low, high]`` to draw it from.
    """

    # Blocks of 8 pixels, of 16 for the halved chroma, which is interpolated from its neighbours.
    halo = 16
    grid = 16

    def __init__(self, quality: int | Sequence[int]) -> None:
        self.low, self.high = (int(q) for q in _as_range(quality, "quality"))
        if not 1 <= self.low <= self.high <= 100:
            raise ValueError(f"quality: must be within 1 and 100, got {quality}")

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        quality = int(rng.integers(self.low, self.high + 1))
        return jpeg(to_uint8(image), quality)


def _as_range(value: float | Sequence[float], name: str) -> tuple[float, float]:
    low, high = value if isinstance(value, Sequence) else (value, value)
    if low < 0 or high < low:
        raise ValueError(f"{name}: must be a number or a range [low, high], got {value}")
    return low, high


DEGRADATIONS: dict[str, type[Degradation]] = {
    "bicubic": Bicubic,
    "gaussian_noise": GaussianNoise,
    "jpeg": JpegCompression,
}


def build_degradation(options: Mapping[str, Any] | str, scale: int) -> Degradation:
    """Builds a degradation from ``{type: …, …}``.

    Args:
        options: ``type`` and the constructor's arguments; a name alone is its ``type``.
        scale: scale of the dataset, for ``bicubic`` if its options name none.

    Raises:
        ValueError: unknown type or argument; names the nearest.
    """
    arguments: dict[str, Any] = {"type": options} if isinstance(options, str) else dict(options)
    name = arguments.pop("type", None)
    if name not in DEGRADATIONS:
        raise ValueError(f"type: no degradation {name!r}{did_you_mean(str(name), DEGRADATIONS)}")
    cls = DEGRADATIONS[name]
    if "scale" in (parameter_names(cls) or ()):
        arguments.setdefault("scale", scale)
    try:
        return cls(**arguments)
    except TypeError as error:
        missing = sorted(required_names(cls) - set(arguments))
        unknown = set(arguments) - (parameter_names(cls) or set())
        if missing and not unknown:
            raise ValueError(f"{missing[0]}: is missing; {name} needs it") from error
        raise ValueError(str(error)) from error
