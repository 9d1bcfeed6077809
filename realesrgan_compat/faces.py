"""Faces are restored by GFPGAN, if it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

from mambair.errors import UserError
from realesrgan_compat.upsampler import RealESRGANer

# The weights that Real-ESRGAN's own script uses; GFPGAN downloads them.
_WEIGHTS = "https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.3.pth"


class FaceEnhancementError(UserError, RuntimeError):
    """GFPGAN is not installed, or cannot be used; the message says why."""


def check_gfpgan() -> None:
    """Makes sure, before any work, that GFPGAN is installed.

    Raises:
        FaceEnhancementError: it is not.
    """
    if importlib.util.find_spec("gfpgan") is None:
        raise FaceEnhancementError(
            "--face_enhance needs the package gfpgan, which is not installed: pip install gfpgan"
        )


def load_gfpgan(upsampler: RealESRGANer, outscale: float) -> Any:
    """Loads GFPGAN with a network for what is not a face.

    Returns:
        A ``gfpgan.GFPGANer``.

    Raises:
        FaceEnhancementError: it cannot be imported or loaded.
    """
    # GFPGAN imports BasicSR, which fails with current versions of torchvision unless the plugin
    # repairs it. Nothing else here needs the plugin.
    import basicsr_mambair  # noqa: F401

    try:
        from gfpgan import GFPGANer

        return GFPGANer(
            model_path=_WEIGHTS,
            upscale=outscale,
            arch="clean",
            channel_multiplier=2,
            bg_upsampler=upsampler,
            device=upsampler.device,
        )
    except Exception as error:  # imports, downloads and weights of a foreign package
        raise FaceEnhancementError(
            f"--face_enhance: GFPGAN cannot be loaded: {type(error).__name__}: {error}"
        ) from error
