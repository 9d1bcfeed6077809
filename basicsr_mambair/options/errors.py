"""The error of everything that is wrong with an option file."""

from __future__ import annotations

from mambair.errors import UserError


class OptionError(UserError, ValueError):
    """Something in an option file is wrong; the message names the file and the key."""
