"""The interface of degradations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.per_picture import degrade_each
from mambair.imaging.pixels import Pixels, to_float

Drawn: TypeAlias = dict[str, Any]
"""What a degradation drew for one picture: plain values, which JSON can hold."""


class Degradation(ABC):
    """Turns a high-quality picture into its low-quality version, in two steps.

    :meth:`draw` makes every random choice and returns it as plain values; :meth:`apply` computes
    the result from them and draws nothing. What was drawn can therefore be written down and
    applied again, and does not depend on the batch, the device or the process.

    A subclass is a :class:`PictureDegradation`, which changes one picture, or a
    :class:`TensorDegradation`, which changes a batch on any device; each offers the other way too.

    Attributes:
        name: its ``type`` in option files.
        factor: the sides of the result are 1/factor of those of the picture, which are multiples
            of it.
        halo: pixels of context that a pixel of the result needs on each side, in the result.
        grid: side of the squares, in pixels of the result, in which the result depends on the
            position. Crops begin and end at their borders or at those of the picture.
        bounded: the result lies in [0, 1]; only noise that is not clipped says otherwise.
        crops_exactly: a crop with its ``halo`` is degraded exactly as inside its picture. What
            resizes by a drawn factor, or codes blocks from their neighbors, says otherwise; its
            ``halo`` keeps the borders of crops like the rest.
        examples: arguments for the constructor; the project's tests hold every degradation, made
            with each of them, to the laws that the datasets rely on.
        identity: arguments with which the result is the picture itself, if there are such.
        nested: names of arguments that are degradations themselves.
    """

    name: ClassVar[str] = ""
    factor: int = 1
    halo: int = 0
    grid: int = 1
    bounded: bool = True
    crops_exactly: bool = True
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    identity: ClassVar[Sequence[Mapping[str, Any]]] = ()
    nested: ClassVar[Sequence[str]] = ()

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Makes the random choices for one picture."""
        return {}

    @abstractmethod
    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        """Degrades ``(H, W, C)``, uint8 or float32 in [0, 1], BGR or gray; the input is kept."""

    @abstractmethod
    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        """Degrades ``(B, C, H, W)``, float32 in [0, 1], RGB or gray; one draw per picture."""

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Draws from ``rng`` and degrades one picture, as :meth:`apply` does."""
        return self.apply(image, self.draw(rng))


class PictureDegradation(Degradation):
    """A degradation of one picture in memory, such as a codec."""

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        """Degrades each picture of a batch by itself, on the CPU."""

        def degrade(image: Tensor, each: Drawn) -> Tensor:
            return to_batch(self.apply(to_picture(image[0]), each))

        return degrade_each(degrade, images.cpu(), drawn).to(images.device)


class TensorDegradation(Degradation):
    """A degradation computed by tensor operators on any device."""

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        """Degrades one picture as a batch of one; the result is float32."""
        return to_picture(self.apply_batch(to_batch(image), [drawn])[0])


def to_batch(image: Pixels) -> Tensor:
    """uint8 or float ``(H, W, C)`` in BGR or gray as float32 ``(1, C, H, W)`` in RGB or gray."""
    # A copy: torch takes no negative strides, which a single channel keeps in a contiguous array.
    channels_first = to_float(image)[..., ::-1].transpose(2, 0, 1).copy()
    return torch.from_numpy(channels_first)[None]


def to_picture(image: Tensor) -> Pixels:
    """``(C, H, W)`` in RGB or gray as float32 ``(H, W, C)`` in BGR or gray."""
    pixels: Pixels = image.detach().cpu().numpy()
    pixels = pixels.transpose(1, 2, 0)[..., ::-1].copy()
    return pixels


def branch(rng: np.random.Generator) -> dict[str, Any]:
    """Returns the state of a stream of its own for an array of numbers: a draw to keep.

    The stream gives what ``rng`` would have given next; ``rng`` jumps far ahead.
    """
    bit_generator: Any = rng.bit_generator
    state: dict[str, Any] = bit_generator.state
    bit_generator.advance(2**96)
    return state


def stream(state: Mapping[str, Any]) -> np.random.Generator:
    """Returns the stream whose state :func:`branch` returned."""
    bit_generator: Any = np.random.PCG64()
    bit_generator.state = state
    return np.random.Generator(bit_generator)


def noise_tensor(noise: Pixels, images: Tensor) -> Tensor:
    """Returns float64 ``(H, W, C)`` in BGR or gray as ``(1, C, H, W)`` on the device of a batch.

    It is float32 on devices without float64 (MPS).
    """
    noise = noise[..., ::-1].transpose(2, 0, 1)
    wide = torch.float32 if images.device.type == "mps" else torch.float64
    return torch.from_numpy(noise.copy()).to(wide).to(images.device)[None]


def as_range(value: float | Sequence[float], name: str) -> tuple[float, float]:
    """Converts an option that is a number or ``[low, high]`` to a range.

    Args:
        value: the option.
        name: its key, for the message.

    Raises:
        ValueError: it is neither, or below 0.
    """
    low, high = value if isinstance(value, Sequence) else (value, value)
    if low < 0 or high < low:
        raise ValueError(f"{name}: must be a number or a range [low, high], got {value}")
    return low, high


def as_probability(value: float, name: str) -> float:
    """Returns an option that is a probability.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: must be a probability between 0 and 1, got {value}")
    return value
