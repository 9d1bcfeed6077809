"""The base of every error that a user can mend; importing it loads nothing."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave is wrong, or something the user can install is missing.

    The message says what is wrong, where (the file, and the key or argument) and what would be
    right. The command line shows it without a traceback.
    """
