"""Restores one picture from file to file, with a measurement and a comparison on request."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mambair.imaging.comparison import comparison, y_psnr
from mambair.imaging.errors import PictureError
from mambair.imaging.pixels import Pixels
from mambair.imaging.reading import read_image
from mambair.imaging.resizing import crop_to_multiple, imresize, repeat_pixels
from mambair.imaging.targets import comparison_path
from mambair.imaging.writing import write_image
from mambair.inference.restorer import Restorer


def restore_file(
    restorer: Restorer,
    source: Path,
    target: Path,
    *,
    simulate: bool = False,
    compare: bool = False,
    progress: Callable[[float], None] | None = None,
) -> str | None:
    """Restores the picture in a file.

    Args:
        restorer: network, device and tiling.
        source: the picture.
        target: path of the result.
        simulate: treat the picture as the ground truth: shrink it by the network's scale, restore
            that, and measure.
        compare: also write ``<target>_compare.png``.
        progress: called with fractions of the picture.

    Returns:
        With ``simulate``, a line with the Y-PSNR of bicubic interpolation and of the result.

    Raises:
        PictureError: the picture cannot be read or written; names it.
    """
    image = read_image(source)
    truth = None
    if simulate:
        truth, image = _simulate(image, restorer.scale, source)
    try:
        restored = restorer(image, "bgr", progress)
    except PictureError as error:
        raise PictureError(f"{source}: {error}") from error
    except RuntimeError as error:
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        raise PictureError(f"{source}: not enough memory; try a smaller --tile") from error
    write_image(restored, target)

    bicubic = imresize(image, restorer.scale) if truth is not None or compare else None
    report = None
    captions = ["before", "bicubic", "after"]
    if truth is not None and bicubic is not None:
        scores = [y_psnr(each, truth, restorer.scale) for each in (bicubic, restored)]
        captions[1] = f"bicubic {scores[0]:.2f} dB"
        captions[2] = f"after {scores[1]:.2f} dB"
        report = (
            f"{source.name}: Y-PSNR bicubic {scores[0]:.2f} dB, restored {scores[1]:.2f} dB "
            f"({scores[1] - scores[0]:+.2f})"
        )
    if compare and bicubic is not None:
        before = repeat_pixels(image, restorer.scale)
        path = comparison_path(target)
        write_image(comparison([before, bicubic, restored], captions), path)
        report = f"{report or source.name}; comparison: {os.fspath(path)}"
    return report


def _simulate(image: Pixels, scale: int, source: Path) -> tuple[Pixels, Pixels]:
    """Ground truth and low-resolution version of a picture."""
    if image.dtype != np.uint8 or (image.ndim == 3 and image.shape[2] != 3):
        raise PictureError(f"{source}: --simulate needs pictures of 8 bits without alpha")
    truth = crop_to_multiple(image, scale)
    if min(truth.shape[:2]) <= 2 * scale:
        raise PictureError(f"{source}: too small to shrink by {scale} and measure")
    return truth, imresize(truth, 1 / scale)
