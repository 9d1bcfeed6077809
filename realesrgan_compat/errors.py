"""The error of arguments that do not go together."""

from __future__ import annotations

from mambair.errors import UserError


class UpsamplerError(UserError, ValueError):
    """An argument of :class:`RealESRGANer` does not fit the others; the message says which."""
