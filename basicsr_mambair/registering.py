"""How the classes and functions of this package enter BasicSR's registries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def register_all(registry: Any, contents: Iterable[Any]) -> None:
    """Registers classes and functions under their names; those that are there already are left.

    Args:
        registry: one of ``basicsr.utils.registry``.
        contents: classes or functions.

    Raises:
        ImportError: another package holds one of the names: the published MambaIR code, say, which
            replaces BasicSR by a fork of its own.
    """
    registered = dict(iter(registry))
    for own in contents:
        other = registered.get(own.__name__)
        if other is own:
            continue
        if other is not None:
            raise ImportError(
                f"BasicSR's registry of {registry._name}s already has a {own.__name__!r}, from "
                f"{other.__module__}. basicsr-mambair works beside the BasicSR of PyPI; "
                "uninstall the fork: pip uninstall basicsr && pip install basicsr==1.4.2"
            )
        registry.register(own)
