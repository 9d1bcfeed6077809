"""MambaIRv2 inside Real-ESRGAN pipelines: the same class, and the same commands.

``from realesrgan import RealESRGANer`` becomes ``from realesrgan_compat import RealESRGANer``;
everything else of a program stays as it is. Neither BasicSR nor ``realesrgan`` is needed, except
for networks of BasicSR. Importing this package loads neither torch nor OpenCV.

Examples:
    >>> import numpy as np
    >>> from realesrgan_compat import RealESRGANer
    >>> upsampler = RealESRGANer(scale=2, model_path="tiny_x2", device="cpu")
    >>> output, img_mode = upsampler.enhance(np.zeros((20, 30, 3), np.uint8), outscale=3)
    >>> output.shape, img_mode
    ((60, 90, 3), 'RGB')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realesrgan_compat.upsampler import RealESRGANer

__all__ = ["RealESRGANer"]


def __getattr__(name: str) -> Any:
    if name != "RealESRGANer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from realesrgan_compat.upsampler import RealESRGANer

    globals()[name] = RealESRGANer
    return RealESRGANer
