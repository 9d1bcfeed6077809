"""The interface of degradations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mambair.imaging.pixels import Pixels


class Degradation(ABC):
    """Turns a high-quality picture into its low-quality version.

    Accepts uint8 or float32 pixels ``(H, W, C)``. All randomness comes from the generator that is
    passed in, so that the same state of the generator gives the same picture.

    Attributes:
        factor: the sides of the result are 1/factor of those of the picture, which are multiples
            of it.
        halo: pixels of context that a pixel of the result needs on each side, in the result.
        grid: side of the squares, in pixels of the result, in which the result depends on the
            position. Crops begin and end at their borders or at those of the picture.
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
