"""The interface of degradations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mambair.imaging.pixels import Pixels


class Degradation(ABC):
    """From a high-quality picture to its low-quality version.

    It maps uint8 or float32 pixels ``(H, W, C)`` and takes its randomness from the generator that
    it is given, so that the same state of the generator gives the same picture.

    Attributes:
        factor: the sides of the result are 1/factor of those of the picture, which are multiples
            of it.
        halo: pixels of context that a pixel of the result needs on each side, in the result.
        grid: the result depends on the position in squares of so many of its pixels: a crop
            begins and ends on their borders, or where the picture does.
        examples: arguments for the constructor; the project's tests hold every degradation, made
            with each of them, to the laws that the datasets rely on.
    """

    factor: int = 1
    halo: int = 0
    grid: int = 1
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({},)

    @abstractmethod
    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Degrades ``(H, W, C)``, uint8 or float32 in [0, 1], BGR or gray."""


def as_range(value: float | Sequence[float], name: str) -> tuple[float, float]:
    """An option that is a number or ``[low, high]``, as a range.

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
