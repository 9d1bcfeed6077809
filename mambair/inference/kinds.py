"""Pictures in memory, as callers have them: arrays, PIL pictures and tensors.

All become arrays ``(H, W)`` gray or ``(H, W, C)`` with 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)
channels, of uint8, uint16 or float in [0, 1]; and the restored array becomes their kind again.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mambair.imaging.errors import PictureError
from mambair.imaging.pillow import upright
from mambair.imaging.pixels import Pixels
from mambair.imaging.profiles import pixels_by_profile

Order = Literal["rgb", "bgr"]

_TAKEN = (
    "a picture is an array of uint8, uint16 or float in [0, 1], (H, W) or (H, W, 1 to 4 channels), "
    "a PIL picture, or a float tensor (B, C, H, W) with 1 to 4 channels in [0, 1]"
)
_TOLERANCE = 0.5  # float pixels may leave [0, 1] by this: what sharpened a picture may overshoot


def check_array(image: Pixels) -> None:
    """Raises :class:`PictureError` unless an array is a picture; names its type and shape."""
    channels = image.shape[2] if image.ndim == 3 else 1
    known = image.dtype.newbyteorder("=") in (np.uint8, np.uint16) or np.issubdtype(
        image.dtype, np.floating
    )
    if not known or image.ndim not in (2, 3) or not 1 <= channels <= 4 or not image.size:
        raise PictureError(f"an array of {image.dtype}, {image.shape}, was given; {_TAKEN}")
    if np.issubdtype(image.dtype, np.floating):
        low, high = float(image.min()), float(image.max())
        if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # NaN is refused as well
            raise PictureError(
                f"an array of {image.dtype}, values from {low:g} to {high:g}, was given; {_TAKEN}"
            )


def check_tensor(pictures: Tensor) -> None:
    """Raises :class:`PictureError` unless a tensor is a batch of pictures; names its shape."""
    shape = tuple(pictures.shape)
    if not pictures.is_floating_point() or len(shape) != 4 or not pictures.numel():
        raise PictureError(f"a tensor of {pictures.dtype}, {shape}, was given; {_TAKEN}")


def refusal(picture: object) -> PictureError:
    """Returns the error for an object that is not a picture."""
    return PictureError(f"a {type(picture).__name__} was given; {_TAKEN}")


def array_of_tensor(picture: Tensor) -> Pixels:
    """One picture ``(C, H, W)`` as float32 ``(H, W, C)``."""
    return picture.detach().permute(1, 2, 0).float().cpu().numpy()


def tensor_of_arrays(images: list[Pixels], like: Tensor) -> Tensor:
    """Pictures ``(H, W, C)`` as a batch on the device, and of the type, of another."""
    planes = [torch.from_numpy(np.ascontiguousarray(each.transpose(2, 0, 1))) for each in images]
    return torch.stack(planes).to(like.device, like.dtype)


def array_of_pil(picture: Image.Image) -> Pixels:
    """Pixels of a PIL picture, upright; palettes, CMYK and the like become RGB (with alpha).

    Raises:
        PictureError: pixels of more than 16 bits.
    """
    try:
        return pixels_by_profile(upright(picture))
    except PictureError as error:
        raise PictureError(
            f"a PIL picture of mode {picture.mode} was given: {error}; {_TAKEN}"
        ) from error
