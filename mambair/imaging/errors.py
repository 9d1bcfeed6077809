"""The error of everything that is wrong with a picture."""

from __future__ import annotations

from mambair.errors import UserError


class PictureError(UserError, ValueError):
    """A picture is missing, cannot be decoded or cannot be written; the message names it."""
