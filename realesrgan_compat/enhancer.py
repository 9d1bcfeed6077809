"""One picture to its result: the network, and GFPGAN for faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mambair.errors import is_out_of_memory
from mambair.imaging.errors import PictureError
from mambair.imaging.pixels import Pixels, to_eight_bits
from realesrgan_compat.upsampler import AlphaUpsampler, RealESRGANer


@dataclass(frozen=True)
class Enhancer:
    """What a command does with every picture or frame.

    Attributes:
        upsampler: the network.
        outscale: factor of the sides of the result.
        alpha_upsampler: see :meth:`RealESRGANer.enhance`.
        faces: a ``GFPGANer`` with this upsampler behind it, or ``None``.
    """

    upsampler: RealESRGANer
    outscale: float
    alpha_upsampler: AlphaUpsampler = "realesrgan"
    faces: Any = None

    def __call__(self, picture: Pixels) -> Pixels:
        """Enlarges a picture.

        Args:
            picture: see :meth:`RealESRGANer.enhance`; with ``faces``, 8 bits and BGR come out.

        Raises:
            PictureError: not enough memory; says what helps.
        """
        try:
            if self.faces is None:
                return self.upsampler.enhance(picture, self.outscale, self.alpha_upsampler)[0]
            _, _, restored = self.faces.enhance(
                _plain(picture), has_aligned=False, only_center_face=False, paste_back=True
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise PictureError("not enough memory; try tiles, such as -t 256") from error
        return np.asarray(restored)


def _plain(picture: Pixels) -> Pixels:
    """8 bits, BGR: what GFPGAN takes."""
    picture = to_eight_bits(picture)
    if picture.ndim == 2 or picture.shape[2] < 3:
        gray = picture if picture.ndim == 2 else picture[..., 0]
        return np.repeat(gray[..., None], 3, axis=2)
    return np.ascontiguousarray(picture[..., :3])
