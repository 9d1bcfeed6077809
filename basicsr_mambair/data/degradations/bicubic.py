"""Bicubic downscaling."""

from __future__ import annotations

from basicsr_mambair.data.degradations.degradation import Drawn, PictureDegradation
from basicsr_mambair.data.degradations.registry import register_degradation
from mambair.imaging.pixels import Pixels
from mambair.imaging.resizing import imresize


@register_degradation("bicubic")
class Bicubic(PictureDegradation):
    """Downscaling by MATLAB's bicubic ``imresize``, bit-exact on uint8.

    Args:
        scale: whole number by which the sides shrink.
    """

    halo = 4
    examples = ({"scale": 2}, {"scale": 3}, {"scale": 4})
    identity = ({"scale": 1},)

    def __init__(self, scale: int) -> None:
        if scale < 1 or int(scale) != scale:
            raise ValueError(f"scale: must be a whole number of at least 1, got {scale}")
        self.factor = int(scale)

    def apply(self, image: Pixels, drawn: Drawn) -> Pixels:
        return imresize(image, 1 / self.factor)
