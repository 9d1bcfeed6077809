"""MambaIRv2 and what runs it: networks, the selective scan, and restoring pictures.

Importing this package changes nothing in the process and loads neither BasicSR nor torch: what it
offers is loaded when it is used.

Examples:
    >>> import mambair, numpy as np
    >>> model = mambair.load("tiny_x2")
    >>> picture = np.full((20, 30, 3), 128, np.uint8)  # RGB
    >>> model(picture).shape
    (40, 60, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mambair._version import __version__

if TYPE_CHECKING:
    from mambair.inference.restorer import Restorer, load
    from mambair.inference.weights import list_models

__all__ = ["Restorer", "__version__", "list_models", "load"]

_MODULES = {
    "Restorer": "mambair.inference.restorer",
    "load": "mambair.inference.restorer",
    "list_models": "mambair.inference.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
