"""Training and measuring need BasicSR; the rest of the project does not."""

from __future__ import annotations

import importlib.util
import sys

from mambair.errors import UserError


class BasicSRMissingError(UserError, ImportError):
    """BasicSR is not installed; the message says how to get it."""


def require_basicsr() -> None:
    """Imports BasicSR, which activates the plugin.

    Raises:
        BasicSRMissingError: it is not installed.
        ForkError: what is found in its place does not work.
    """
    if importlib.util.find_spec("basicsr") is None:
        remedy = "install it with: pip install basicsr==1.4.2"
        if sys.version_info >= (3, 13):
            remedy = (
                "its source does not build on Python 3.13 and later, so build the wheel with "
                "Python 3.10, 3.11 or 3.12 (pip wheel --no-deps basicsr==1.4.2) and install that "
                "file here, since it fits every Python 3"
            )
        raise BasicSRMissingError(
            f"training and testing need BasicSR 1.4.2, which is not installed; {remedy}"
        )
    import basicsr  # noqa: F401
