"""The progress bars of commands that count: how much is done, and the time left."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

_FORMAT = (
    "{desc} {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt}, {elapsed} elapsed, {remaining} left"
)


def progress_bar(total: int, description: str) -> Any:
    """Returns a progress bar over ``total`` steps that disappears when it is full."""
    return tqdm(total=total, desc=description, bar_format=_FORMAT, dynamic_ncols=True, leave=False)


def training_bar(total: int, begin: int, description: str) -> Any:
    """Returns a bar over the iterations of a training, with room for figures at its end.

    The time left is that of the mean iteration so far. Where standard error is not a terminal,
    nothing is shown.

    Args:
        total: the last iteration.
        begin: iterations that an earlier leg of the run has made.
        description: name of the run.
    """
    return tqdm(
        total=total,
        initial=begin,
        desc=description,
        bar_format=_FORMAT + "{postfix}",
        dynamic_ncols=True,
        leave=False,
        smoothing=0,
        disable=None,  # unless it is a terminal
    )
