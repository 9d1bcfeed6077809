"""The error of everything that is wrong with a video."""

from __future__ import annotations

from mambair.errors import UserError


class VideoError(UserError, ValueError):
    """A video is missing, cannot be decoded or cannot be written; the message names it."""
