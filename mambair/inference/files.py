"""One picture from file to file, with a measurement and a comparison if wanted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mambair.imaging.errors import PictureError
from mambair.imaging.pixels import Pixels, luminance, to_eight_bits, to_float
from mambair.imaging.reading import read_image
from mambair.imaging.resizing import crop_to_multiple, imresize, repeat_pixels
from mambair.imaging.writing import write_image
from mambair.inference.restorer import Restorer

_DETAIL = 160  # side of the part that a comparison shows, in pixels of the result
_ZOOM = 3
_CAPTION = 28


def restore_picture(
    restorer: Restorer,
    source: Path,
    target: Path,
    *,
    simulate: bool = False,
    compare: bool = False,
    progress: Callable[[float], None] | None = None,
) -> str | None:
    """Restores a file.

    Args:
        restorer: network, device and tiling.
        source: the picture.
        target: where to write the result.
        simulate: take the picture for the truth: shrink it by the network's scale, restore that,
            and measure.
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
        restored = restorer(image, progress)
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


def comparison_path(target: Path) -> Path:
    """Where the comparison of a result is written."""
    return target.with_name(f"{target.stem}_compare.png")


def _simulate(image: Pixels, scale: int, source: Path) -> tuple[Pixels, Pixels]:
    """Truth and low-resolution version of a picture."""
    if image.dtype != np.uint8 or (image.ndim == 3 and image.shape[2] != 3):
        raise PictureError(f"{source}: --simulate takes pictures of 8 bits without alpha")
    truth = crop_to_multiple(image, scale)
    if min(truth.shape[:2]) <= 2 * scale:
        raise PictureError(f"{source}: too small to shrink by {scale} and measure")
    return truth, imresize(truth, 1 / scale)


def y_psnr(image: Pixels, truth: Pixels, border: int) -> float:
    """PSNR in dB on the Y channel (BT.601, 16–235), ``border`` pixels cut off each side.

    Args:
        image: uint8, gray or BGR.
        truth: the same shape.
        border: pixels.
    """
    planes = [luminance(to_float(np.atleast_3d(each))) * 255.0 for each in (image, truth)]
    error = planes[0].astype(np.float64) - planes[1]
    if border:
        error = error[border:-border, border:-border]
    return float(10 * np.log10(255.0**2 / np.mean(error**2)))


def comparison(images: list[Pixels], captions: list[str]) -> Pixels:
    """The part with most detail of every image, enlarged, side by side under captions.

    Args:
        images: pictures of one size, uint8 or uint16, gray, BGR or BGRA.
        captions: one an image.

    Returns:
        uint8 ``(H, W, 3)`` BGR.
    """
    panels = [_as_bgr(image) for image in images]
    top, left, height, width = most_detailed_window(panels[-1], _DETAIL)
    panels = [panel[top : top + height, left : left + width] for panel in panels]
    panels = [repeat_pixels(panel, _ZOOM) for panel in panels]
    height, width = panels[0].shape[:2]

    canvas = Image.new("RGB", (len(panels) * (width + 8) - 8, height + _CAPTION), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=16)
    for index, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        x = index * (width + 8)
        canvas.paste(Image.fromarray(panel[..., ::-1]), (x, _CAPTION))
        draw.text((x + 4, 4), caption, fill="black", font=font)
    return np.ascontiguousarray(np.asarray(canvas)[..., ::-1])


def _as_bgr(image: Pixels) -> Pixels:
    image = to_eight_bits(image)
    if image.ndim == 3 and image.shape[2] == 2:
        image = image[..., 0]
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return image[..., :3]


def most_detailed_window(image: Pixels, side: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the window of at most ``side`` pixels with the most edges.

    Args:
        image: uint8 ``(H, W, 3)`` BGR.
        side: in pixels.
    """
    height, width = (min(length, side) for length in image.shape[:2])
    gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)
    edges = np.abs(cv2.Laplacian(gray, cv2.CV_32F)).astype(np.float64)
    sums = np.pad(edges.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    window = (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
    top, left = np.unravel_index(int(window.argmax()), window.shape)
    return int(top), int(left), height, width
