"""Padding pictures to the sizes that networks accept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def mirror_to_multiple(x: Tensor, multiple: int, least: int = 1, edge: bool = True) -> Tensor:
    """Pads right and bottom by mirroring, as often as needed.

    Args:
        x: ``(B, C, H, W)``.
        multiple: both sides become multiples of this.
        least: and at least this long.
        edge: the mirror repeats the edge pixel; otherwise it lies on that pixel, as PyTorch's
            ``reflect`` has it.

    Returns:
        ``(B, C, H', W')``, with ``x`` at the top left.
    """
    if multiple == 1 and least == 1:
        return x
    for dim in (-2, -1):
        size = x.shape[dim]
        padded = (size + multiple - 1) // multiple * multiple
        if least > 1:
            padded = max(padded, (least + multiple - 1) // multiple * multiple)
        # A compiled or exported network must not depend on whether the size fits.
        if torch.compiler.is_compiling() or padded != size:
            period = 2 * size if edge else max(2 * size - 2, 1)
            index = torch.arange(padded, device=x.device) % period
            index = torch.where(index < size, index, period - int(edge) - index)
            x = x.index_select(dim, index)
    return x


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """The top left part of ``(B, C, H', W')``, ``(B, C, height, width)``."""
    # Columns first: torch.export, sizes left open, requires that rows are cut if they come first.
    return x[..., :width][..., :height, :]


def run_padded(
    net: Callable[[Tensor], Tensor], x: Tensor, scale: int, multiple: int, least: int = 1
) -> Tensor:
    """Applies a network to a picture of any size: pads it, and cuts the result.

    Args:
        net: maps ``(B, C, H', W')`` to ``(B, C, scale·H', scale·W')``.
        x: ``(B, C, H, W)``.
        scale: scale of the network.
        multiple: sides that the network accepts are multiples of this.
        least: and at least this long.

    Returns:
        ``(B, C, scale·H, scale·W)``.
    """
    height, width = (side * scale for side in x.shape[-2:])
    return crop(net(mirror_to_multiple(x, multiple, least)), height, width)
