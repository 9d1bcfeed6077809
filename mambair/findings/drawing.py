"""What the drawings share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Item = TypeVar("Item")


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches; no window and no global state is involved."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def bare(axes: Any, title: str = "") -> Any:
    """Takes ticks away, for pictures; returns the axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=9)
    return axes


def spread(items: Sequence[Item], count: int) -> list[tuple[int, Item]]:
    """At most ``count`` items with their numbers, evenly from the first to the last.

    Examples:
        >>> from mambair.findings.drawing import spread
        >>> spread("abcdefg", 3)
        [(0, 'a'), (3, 'd'), (6, 'g')]
    """
    if len(items) <= count:
        return list(enumerate(items))
    last = len(items) - 1
    chosen = [round(step * last / (count - 1)) for step in range(count)]
    return [(number, items[number]) for number in chosen]
