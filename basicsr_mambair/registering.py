"""How the classes and functions of this package enter BasicSR's registries."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

# One folder for each registry of BasicSR; its modules register their contents when imported.
_FOLDERS = ("archs", "data", "losses", "metrics", "models")


def import_all() -> None:
    """Imports every module of the folders that correspond to BasicSR's registries."""
    for folder in _FOLDERS:
        package = importlib.import_module(f"basicsr_mambair.{folder}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")


# Ends the names of classes whose plain names other packages register: pip's realesrgan, HAT's.
SUFFIX = "mambair"


def registers_in(registry: Any, suffix: str | None = None) -> Callable[[T], T]:
    """Decorator that adds a class or function under its name.

    Args:
        registry: one of ``basicsr.utils.registry``.
        suffix: registered as ``NAME_suffix``, as BasicSR does with its Real-ESRGAN classes.

    Raises:
        ImportError: another package has registered the name, such as the published MambaIR code,
            which replaces BasicSR with a fork of its own.
    """

    def register(own: Any) -> Any:
        name = f"{own.__name__}_{suffix}" if suffix else own.__name__
        other = dict(iter(registry)).get(name)
        if other is not None and other is not own:
            raise ImportError(
                f"BasicSR's registry of {registry._name}s already has a {name!r}, from "
                f"{other.__module__}. basicsr-mambair works with the BasicSR of PyPI; "
                "uninstall the fork: pip uninstall basicsr && pip install basicsr==1.4.2"
            )
        if other is None:
            registry.register(own, suffix)
        return own

    return register
