"""Compares a restored picture with its source: a measurement, and panels of its finest detail."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mambair.imaging.pixels import Pixels, luminance, to_eight_bits, to_float
from mambair.imaging.resizing import repeat_pixels

_DETAIL = 160  # side of the part that a comparison shows, in pixels of the result
_ZOOM = 3
_CAPTION = 28


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
    """The part with most detail of every picture, enlarged, side by side under captions.

    Args:
        images: pictures of one size, uint8 or uint16, gray, BGR or BGRA.
        captions: one for each picture.

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
