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
