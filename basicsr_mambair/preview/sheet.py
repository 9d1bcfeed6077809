"""A contact sheet: true picture, input, and what was drawn, of every sample."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from basicsr_mambair.preview.samples import Sample
from mambair.imaging.comparison import most_detailed_window
from mambair.imaging.pixels import Pixels
from mambair.imaging.resizing import repeat_pixels

_SIDE = 256  # most pixels of the true picture along a side
_PANEL = 240  # least side of a panel; smaller pictures are enlarged by repeating pixels
_GAP = 8
_LINE = 15  # height of a line of text
_LETTER = 6.3  # width of a letter, about
_MOST_LINES = 6
_NAMES = {"type", "step", "kind", "method", "layout"}  # whose values say what they are
_FRAMES = {"degradation", "parts", "steps", "drawn", "applied"}  # which say nothing themselves
_HIDDEN = {"noise", "seed", "window", "orientation", "corner", "part"}  # streams and places


def contact_sheet(samples: list[Sample], title: str) -> Pixels:
    """Draws the samples in two columns.

    Of a picture of more than 256 pixels along a side, the part with most detail is shown.

    Args:
        samples: at least one.
        title: first line.

    Returns:
        uint8 ``(H, W, 3)`` BGR.
    """
    tiles = [_tile(sample) for sample in samples]
    columns = min(2, len(tiles))
    width = max(tile.width for tile in tiles) + _GAP
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) + _GAP for row in rows]
    needed = round(len(title) * _LETTER) + 2 * _GAP
    sheet = Image.new(
        "RGB", (max(columns * width + _GAP, needed), sum(heights) + _LINE + 2 * _GAP), "white"
    )
    ImageDraw.Draw(sheet).text((_GAP, _GAP // 2), title, fill="black", font=_font())
    top = _LINE + 2 * _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (_GAP + column * width, top))
        top += height
    return np.ascontiguousarray(np.asarray(sheet)[..., ::-1])


def describe(drawn: Any) -> str:
    """What was drawn as short text: names and numbers, without streams of noise and places."""
    return " · ".join(_described(drawn, ""))


def _described(drawn: Any, name: str) -> Iterator[str]:
    if isinstance(drawn, Mapping):
        shown = {key: value for key, value in drawn.items() if key not in _HIDDEN}
        plain = {key: value for key, value in shown.items() if _is_plain(value)}
        words = [
            _short(value) if key in _NAMES else f"{key} {_short(value)}"
            for key, value in plain.items()
        ]
        words = [word for word in words if word]
        words += ["left out" for value in shown.values() if value is None]
        if words:
            yield " ".join([f"{name}:", *words] if name else words)
        for key, value in shown.items():
            if key not in plain and value is not None:
                yield from _described(value, "" if key in _FRAMES else key)
    elif isinstance(drawn, list):
        for each in drawn:
            yield from _described(each, name)


def _is_plain(value: Any) -> bool:
    members = value if isinstance(value, list) else [value]
    return all(isinstance(each, (str, bool, int, float)) for each in members)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(map(_short, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _tile(sample: Sample) -> Image.Image:
    panels = _panels(sample)
    width = sum(panel.shape[1] for panel in panels) + _GAP * (len(panels) - 1)
    height = max(panel.shape[0] for panel in panels)
    text = "draws not recorded" if sample.drawn is None else describe(sample.drawn)
    lines = textwrap.wrap(text, max(20, int(width / _LETTER))) or ["nothing was drawn"]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], "..."]
    sizes = ", ".join(  # in letters that Pillow's own font has
        f"{each.shape[1]}x{each.shape[0]}" for each in (sample.gt, sample.lq) if each is not None
    )
    lines = [f"{sample.name}  {sizes}", *lines]
    tile = Image.new("RGB", (width, height + _GAP // 2 + _LINE * len(lines)), "white")
    left = 0
    for panel in panels:
        tile.paste(Image.fromarray(np.ascontiguousarray(panel[..., ::-1])), (left, 0))
        left += panel.shape[1] + _GAP
    draw = ImageDraw.Draw(tile)
    for number, line in enumerate(lines):
        place = (0, height + _GAP // 2 + number * _LINE)
        draw.text(place, line, fill="black" if number == 0 else "dimgray", font=_font())
    return tile


def _panels(sample: Sample) -> list[Pixels]:
    """GT and LQ as BGR, the same part at the same size."""
    lq = _as_bgr(sample.lq)
    if sample.gt is None:
        top, left, height, width = most_detailed_window(lq, _SIDE)
        part = lq[top : top + height, left : left + width]
        return [repeat_pixels(part, _zoom(part))]
    gt = _as_bgr(sample.gt)
    scale = max(1, gt.shape[0] // lq.shape[0])
    top, left, height, width = most_detailed_window(lq, max(1, _SIDE // scale))
    small = lq[top : top + height, left : left + width]
    large = gt[top * scale : (top + height) * scale, left * scale : (left + width) * scale]
    zoom = _zoom(large)
    return [repeat_pixels(large, zoom), repeat_pixels(small, zoom * scale)]


def _zoom(image: Pixels) -> int:
    height, width = image.shape[:2]
    return max(1, math.ceil(_PANEL / int(max(height, width))))


def _as_bgr(image: Pixels) -> Pixels:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.shape[2] == 1 else image


def _font() -> Any:
    return ImageFont.load_default(size=12)
