"""Degradations: seeded, replayable operators from a picture to its low-quality version.

Each has a file of its own: every module of this folder is imported, and registers its class with
:func:`register_degradation`. Modules of other packages register theirs in the same way. The folder
run as a program writes the tables of its page: see ``__main__.py``.
"""

from __future__ import annotations

import importlib
import pkgutil

from basicsr_mambair.data.degradations.degradation import (
    Degradation,
    Drawn,
    PictureDegradation,
    TensorDegradation,
)
from basicsr_mambair.data.degradations.registry import (
    DEGRADATIONS,
    build_degradation,
    register_degradation,
)

__all__ = [
    "DEGRADATIONS",
    "Degradation",
    "Drawn",
    "PictureDegradation",
    "TensorDegradation",
    "build_degradation",
    "register_degradation",
]

for _module in pkgutil.iter_modules(__path__):
    if _module.name == "__main__":
        continue
    importlib.import_module(f"{__name__}.{_module.name}")
