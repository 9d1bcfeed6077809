"""Restores one picture from file to file, with a measurement and a comparison on request."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mambair.errors import is_out_of_memory
from mambair.imaging.comparison import comparison, y_psnr
from mambair.imaging.errors import PictureError
from mambair.imaging.picture_file import read_picture_file, write_picture_file
from mambair.imaging.pixels import Pixels
from mambair.imaging.resizing import crop_to_multiple, imresize, repeat_pixels
from mambair.imaging.targets import comparison_path
from mambair.imaging.writing import write_image
from mambair.inference.restorer import Restorer


@dataclass(frozen=True)
class Restored:
    """What is to be said about a picture that was restored.

    Attributes:
        report: measurement and comparison, if they were asked for.
        notes: what of the file is not in the result, one sentence for each kind.
    """

    report: str | None
    notes: list[str]


def restore_file(
    restorer: Restorer,
    source: Path,
    target: Path,
    *,
    simulate: bool = False,
    compare: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Restored:
    """Restores the picture in a file: its pixels, all of its pages or frames, with its metadata.

    Args:
        restorer: network, device and tiling.
        source: the picture.
        target: path of the result.
        simulate: treat the picture as the ground truth: shrink it by the network's scale, restore
            that, and measure: the Y-PSNR of bicubic interpolation and of the result.
        compare: also write ``<target>_compare.png``, of the first page or frame.
        progress: called with fractions of the file.

    Raises:
        PictureError: the picture cannot be read or written; names it.
    """
    picture = read_picture_file(source)
    before = picture.frames
    truth = None
    if simulate:
        if len(before) > 1:
            raise PictureError(f"{source}: --simulate takes single pictures, not {len(before)}")
        truth, low = _simulate(before[0], restorer.scale, source)
        before = [low]
    restored = _restore_frames(restorer, before, source, progress)
    notes = write_picture_file(picture.with_frames(restored), target)

    report = None
    if truth is not None or compare:
        report = _report(before[0], restored[0], truth, restorer.scale, source, target, compare)
    return Restored(report, [*picture.notes, *notes])


def _restore_frames(
    restorer: Restorer,
    frames: list[Pixels],
    source: Path,
    progress: Callable[[float], None] | None,
) -> list[Pixels]:
    total = sum(each.shape[0] * each.shape[1] for each in frames)
    restored = []
    for frame in frames:
        share = frame.shape[0] * frame.shape[1] / total

        def advance(fraction: float, share: float = share) -> None:
            if progress is not None:
                progress(fraction * share)

        try:
            restored.append(restorer(frame, "bgr", advance))
        except PictureError as error:
            raise PictureError(f"{source}: {error}") from error
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise PictureError(f"{source}: not enough memory; try a smaller --tile") from error
    return restored


def _report(
    image: Pixels,
    restored: Pixels,
    truth: Pixels | None,
    scale: int,
    source: Path,
    target: Path,
    compare: bool,
) -> str | None:
    """Measures a result, writes its comparison, and returns a line about both."""
    bicubic = imresize(image, scale)
    report = None
    captions = ["before", "bicubic", "after"]
    if truth is not None:
        scores = [y_psnr(each, truth, scale) for each in (bicubic, restored)]
        captions[1] = f"bicubic {scores[0]:.2f} dB"
        captions[2] = f"after {scores[1]:.2f} dB"
        report = (
            f"{source.name}: Y-PSNR bicubic {scores[0]:.2f} dB, restored {scores[1]:.2f} dB "
            f"({scores[1] - scores[0]:+.2f})"
        )
    if compare:
        path = comparison_path(target)
        shown = [repeat_pixels(image, scale), bicubic, restored]
        write_image(comparison(shown, captions), path)
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
