"""Color profiles: what they describe, and pixels in sRGB where a profile cannot be kept."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from mambair.imaging.pillow import pillow_of_pixels, pixels_of_pillow
from mambair.imaging.pixels import Pixels, swap_order


def space_of(profile: bytes) -> str:
    """The pixels that a profile describes: ``RGB``, ``GRAY``, ``CMYK``, … (ICC.1, 7.2.6)."""
    return profile[16:20].decode("latin-1").strip()


def is_srgb(profile: bytes) -> bool:
    """Returns whether a profile says that it is sRGB."""
    try:
        name = ImageCms.getProfileDescription(_opened(profile))
    except (OSError, ImageCms.PyCMSError):
        return False
    return "srgb" in name.lower()


def pillow_as_srgb(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """A picture of Pillow's in sRGB, mode ``RGB``; ``None`` if the profile does not fit it."""
    try:
        return ImageCms.profileToProfile(
            picture,
            _opened(profile),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ValueError, ImageCms.PyCMSError):  # damaged, or for another kind of pixels
        return None


def pixels_by_profile(picture: Image.Image) -> Pixels:
    """Like :func:`~mambair.imaging.pillow.pixels_of_pillow`; CMYK becomes sRGB by its profile."""
    profile = picture.info.get("icc_profile")
    if picture.mode == "CMYK" and profile:
        picture = pillow_as_srgb(picture, profile) or picture
    return pixels_of_pillow(picture)


def as_srgb(image: Pixels, profile: bytes) -> Pixels:
    """Pixels in sRGB.

    Args:
        image: uint8, gray, gray and alpha, BGR or BGRA.
        profile: the color profile of its values.

    Returns:
        uint8 BGR or BGRA; the picture as it is if the profile does not fit it.
    """
    has_alpha = image.ndim == 3 and image.shape[2] in (2, 4)
    color = image[..., :-1] if has_alpha else image
    color = color[..., 0] if color.shape[2:] == (1,) else color
    converted = pillow_as_srgb(pillow_of_pixels(swap_order(color)), profile)
    if converted is None:
        return image
    pixels = swap_order(np.asarray(converted))
    return np.dstack([pixels, image[..., -1]]) if has_alpha else pixels


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))
