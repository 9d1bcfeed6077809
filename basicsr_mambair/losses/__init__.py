"""Losses beyond BasicSR's, under the names that option files use."""

from __future__ import annotations


def register_all() -> None:
    """Registers the losses of this folder."""
