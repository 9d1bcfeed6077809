"""The one place where a picture is cut into tiles.

torch is imported where a tile is computed, so that naming a tiling needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from mambair.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_TILE = 256  # side of a blended tile when a picture is restored, in pixels of the input
_AUTHORS_SIDE = 200  # a side of s pixels is cut into s // 200 + 1 parts
_DEFAULT_OVERLAP = 32
_MIN_SIZE = 16

# Of one side: begin and end of a part, and begin and end of the part with its extension.
Part = tuple[int, int, int, int]


class TileError(UserError, ValueError):
    """A tile size or overlap makes no sense."""


class Tiling(NamedTuple):
    """How a picture is cut.

    Attributes:
        mode: ``none``: whole; ``authors``: the published protocol; ``blend``: overlapping tiles
            with linear cross-fades; ``padded``: adjoining tiles whose surroundings the network sees
            too, as Real-ESRGAN cuts.
        size: side of a tile, in pixels of the input.
        overlap: of blended tiles the least overlap of neighbors; of padded ones how far a tile's
            surroundings reach. In pixels of the input.
    """

    mode: Literal["none", "authors", "blend", "padded"]
    size: int = 0
    overlap: int = 0


def parse_tile(value: str | int | None, overlap: int | None = None) -> Tiling:
    """The tiling that an option or argument names.

    Args:
        value: ``"authors"``, ``"none"`` (or ``None``, or 0), or the side of a tile in pixels.
        overlap: for a side: least overlap in pixels, at most half the side. Default: 32, or a
            quarter of the side if that is less.

    Raises:
        TileError: anything else, or an overlap without a side.
    """
    whole = value in (None, "none", 0, "0")
    if whole or value == "authors":
        if overlap is not None:
            raise TileError(f"an overlap needs a side in pixels; {value!r} has no use for it")
        return Tiling("none" if whole else "authors")
    try:
        size = int(str(value))
    except ValueError:
        raise TileError(f"must be 'authors', 'none' or a side in pixels, got {value!r}") from None
    if size < _MIN_SIZE:
        raise TileError(f"a tile must have a side of at least {_MIN_SIZE} pixels, got {size}")
    if overlap is None:
        overlap = min(_DEFAULT_OVERLAP, size // 4)
    if not 0 <= overlap <= size // 2:
        raise TileError(f"the overlap must be within 0 and half the tile, {size // 2}: {overlap}")
    return Tiling("blend", size, overlap)


def run_tiled(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    scale: int,
    tiling: Tiling,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Applies a network to a picture, tile by tile. An identity network returns ``x`` exactly.

    Args:
        net: maps ``(B, C, h, w)`` to ``(B, C', scale·h, scale·w)``.
        x: ``(B, C, H, W)``.
        scale: scale of the network.
        tiling: how to cut.
        progress: called after every tile with the fraction of the picture that it was.

    Returns:
        ``(B, C', scale·H, scale·W)``.
    """
    if tiling.mode == "authors":
        return _run_authors(net, x, scale, progress)
    if tiling.mode == "padded":
        rows, columns = (_padded_parts(side, tiling) for side in x.shape[-2:])
        return _run_parts(net, x, scale, rows, columns, progress)
    if tiling.mode == "blend" and max(x.shape[-2:]) > tiling.size:
        return _run_blended(net, x, scale, tiling, progress)
    result = net(x)
    if progress is not None:
        progress(1.0)
    return result


def computed_pixels(height: int, width: int, tiling: Tiling) -> int:
    """Pixels of the input that the network sees, those in overlaps more than once: its work.

    Args:
        height: of the picture, in pixels.
        width: likewise.
        tiling: how it is cut.

    Examples:
        >>> from mambair.inference.tiles import computed_pixels, parse_tile
        >>> computed_pixels(10, 300, parse_tile(256))  # two tiles
        5120
    """
    sides = []
    for side in (height, width):
        if tiling.mode == "authors":
            parts = _authors_parts(
                side + -side % (side // _AUTHORS_SIDE + 1), side // _AUTHORS_SIDE + 1
            )
            sides.append(sum(end - begin for _, _, begin, end in parts))
        elif tiling.mode == "padded":
            sides.append(sum(end - begin for _, _, begin, end in _padded_parts(side, tiling)))
        elif tiling.mode == "blend":
            sides.append(min(side, tiling.size) * len(_starts(side, tiling)))
        else:
            sides.append(side)
    return sides[0] * sides[1]


def _run_authors(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    scale: int,
    progress: Callable[[float], None] | None,
) -> Tensor:
    """The tiling of the published results.

    Each side s is padded by reflection to a multiple of n = s // 200 + 1 and cut into n parts; a
    part is extended by a tenth of its size inward of the picture, and what was extended is cut off
    the result. Nothing is blended.
    """
    from torch.nn import functional as F

    height, width = x.shape[-2:]
    rows, columns = height // _AUTHORS_SIDE + 1, width // _AUTHORS_SIDE + 1
    x = F.pad(x, (0, -width % columns, 0, -height % rows), "reflect")
    parts = (_authors_parts(x.shape[-2], rows), _authors_parts(x.shape[-1], columns))
    return _run_parts(net, x, scale, *parts, progress)[..., : height * scale, : width * scale]


def _run_parts(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    scale: int,
    rows: list[Part],
    columns: list[Part],
    progress: Callable[[float], None] | None,
) -> Tensor:
    """Runs the parts with their extensions, and keeps of each result what is the part's own."""
    result: Tensor | None = None
    for top, bottom, first, last in rows:
        for left, right, begin, end in columns:
            part = net(x[..., first:last, begin:end])
            if result is None:
                shape = (*part.shape[:2], x.shape[-2] * scale, x.shape[-1] * scale)
                result = part.new_empty(shape)
            result[..., top * scale : bottom * scale, left * scale : right * scale] = part[
                ...,
                (top - first) * scale : (bottom - first) * scale,
                (left - begin) * scale : (right - begin) * scale,
            ]
            if progress is not None:
                progress(1 / (len(rows) * len(columns)))
    assert result is not None
    return result


def _authors_parts(length: int, count: int) -> list[Part]:
    part = length // count
    extension = part // 10
    return [
        (
            i * part,
            (i + 1) * part,
            max(0, i * part - extension),
            min(length, (i + 1) * part + extension),
        )
        for i in range(count)
    ]


def _padded_parts(length: int, tiling: Tiling) -> list[Part]:
    ends = [min(begin + tiling.size, length) for begin in range(0, length, tiling.size)]
    return [
        (begin, end, max(0, begin - tiling.overlap), min(length, end + tiling.overlap))
        for begin, end in zip(range(0, length, tiling.size), ends, strict=True)
    ]


def _run_blended(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    scale: int,
    tiling: Tiling,
    progress: Callable[[float], None] | None,
) -> Tensor:
    height, width = x.shape[-2:]
    tops = _starts(height, tiling)
    lefts = _starts(width, tiling)
    result: Tensor | None = None
    done_rows = 0
    for top in tops:
        strip: Tensor | None = None
        done_columns = 0
        for left in lefts:
            part = net(x[..., top : top + tiling.size, left : left + tiling.size])
            if strip is None:
                strip = part.new_empty((*part.shape[:-1], width * scale))
            _paste(strip, part, left * scale, done_columns, dim=-1)
            done_columns = left * scale + part.shape[-1]
            if progress is not None:
                progress(1 / (len(tops) * len(lefts)))
        assert strip is not None
        if result is None:
            result = strip.new_empty((*strip.shape[:2], height * scale, width * scale))
        _paste(result, strip, top * scale, done_rows, dim=-2)
        done_rows = top * scale + strip.shape[-2]
    assert result is not None
    return result


def _starts(length: int, tiling: Tiling) -> list[int]:
    """Evenly spaced starts of tiles that overlap as asked, or more, and reach the end."""
    if length <= tiling.size:
        return [0]
    steps = math.ceil((length - tiling.size) / (tiling.size - tiling.overlap))
    return [round(i * (length - tiling.size) / steps) for i in range(steps + 1)]


def _paste(canvas: Tensor, part: Tensor, start: int, done: int, dim: int) -> None:
    """Writes ``part`` at ``start``; fades from what is there up to ``done`` into the part.

    ``a + w (b − a)`` is exactly a where b is a: what both sides agree on comes out as it is.
    """
    import torch

    overlap = done - start
    length = part.shape[dim]
    if overlap > 0:
        weight = (torch.arange(overlap, device=part.device) + 0.5).to(part.dtype) / overlap
        weight = weight.view(-1, *(1,) * (-dim - 1))
        seam = canvas.narrow(dim, start, overlap)
        seam.copy_(seam + weight * (part.narrow(dim, 0, overlap) - seam))
    else:
        overlap = 0
    fresh = length - overlap
    canvas.narrow(dim, start + overlap, fresh).copy_(part.narrow(dim, overlap, fresh))
