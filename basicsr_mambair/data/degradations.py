"""Degradations: seeded, replayable operators from a picture to its low-quality version.

Every one maps uint8 or float32 pixels ``(H, W, C)`` and takes its randomness from the generator it
is given, so the same generator state gives the same picture. Float pixels are in [0, 1].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr_mambair.utils.arguments import (
    did_you_mean,
    parameter_names,
    required_names,
    suggests_arguments,
)

Pixels = NDArray[Any]

_CUBIC_SUPPORT = 4.0  # taps of the interpolating kernel at scale 1


def imresize(image: Pixels, scale: float) -> Pixels:
    """MATLAB's ``imresize(image, scale)`` (bicubic, antialiased when it shrinks).

    On uint8 it is bit-exact: like MATLAB it rounds to integers after the pass over the rows and
    again after the pass over the columns. Keys' cubic kernel with a = −0.5, widened by 1/scale when
    it shrinks, mirrored (with the edge pixel) at the borders.

    Args:
        image: uint8, uint16 or float ``(H, W)`` or ``(H, W, C)``.
        scale: factor of both sides.

    Returns:
        The same dtype, ``(ceil(scale·H), ceil(scale·W)[, C])``; float is not clamped.
    """
    height, width = image.shape[:2]
    out_height, out_width = math.ceil(height * scale), math.ceil(width * scale)
    # MATLAB begins with the dimension of the smaller scale; they are equal, so with the rows.
    image = _resize_rows(image, out_height, scale)
    swapped = _resize_rows(np.swapaxes(image, 0, 1), out_width, scale)
    return np.ascontiguousarray(np.swapaxes(swapped, 0, 1))


def _resize_rows(image: Pixels, out_length: int, scale: float) -> Pixels:
    indices, weights = _cubic_weights(image.shape[0], out_length, scale)
    result = np.zeros((out_length, *image.shape[1:]), np.float64)
    shape = (-1, *(1,) * (image.ndim - 1))
    for tap in range(indices.shape[1]):
        result += weights[:, tap].reshape(shape) * image[indices[:, tap]]
    if np.issubdtype(image.dtype, np.integer):
        result = np.clip(np.floor(result + 0.5), 0, np.iinfo(image.dtype).max)
    return result.astype(image.dtype)


@lru_cache(maxsize=64)
def _cubic_weights(length: int, out_length: int, scale: float) -> tuple[Pixels, Pixels]:
    """Source indices and weights ``(out_length, taps)`` of one dimension."""
    stretch = min(scale, 1.0)
    support = _CUBIC_SUPPORT / stretch
    # Centre of output pixel i in the coordinates of the input, both counted from 1.
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - support / 2)
    taps = math.ceil(support) + 2
    positions = left[:, None] + np.arange(taps)
    weights = _cubic((centre[:, None] - positions) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    # Mirror with the edge pixel: 1 2 … n n … 2 1
    wrapped = np.mod(positions.astype(np.int64) - 1, 2 * length)
    indices = np.where(wrapped < length, wrapped, 2 * length - 1 - wrapped)
    used = np.any(weights != 0, axis=0)
    return indices[:, used], weights[:, used]


def _cubic(x: Pixels) -> Pixels:
    """Keys' cubic convolution kernel, a = −0.5 (IEEE TASSP 1981, equation 15)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


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


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compresses and decompresses uint8 ``(H, W, 1)`` or ``(H, W, 3)`` BGR."""
    encoded = np.frombuffer(encode_jpeg(image, quality), np.uint8)
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)
    return decoded.reshape(image.shape)


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """The JPEG file of uint8 ``(H, W, 1)`` or ``(H, W, 3)`` BGR; quality from 1 to 100."""
    ok, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not ok:
        raise ValueError(f"OpenCV could not encode a JPEG of {image.shape}")
    return encoded.tobytes()


def to_float(image: Pixels) -> NDArray[np.float32]:
    """Pixels as float32 in [0, 1]."""
    return image.astype(np.float32) / 255.0 if image.dtype == np.uint8 else image


def to_uint8(image: Pixels) -> NDArray[np.uint8]:
    """Pixels as uint8, clipped and rounded half to even."""
    if image.dtype == np.uint8:
        return image
    return (image.clip(0, 1) * 255.0).round().astype(np.uint8)


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
