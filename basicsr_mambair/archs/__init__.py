"""The networks of :mod:`mambair` in BasicSR's ``ARCH_REGISTRY``, and BasicSR's for mambair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr_mambair import registering


def register_all() -> None:
    """Registers every network of :mod:`mambair`."""
    from basicsr.utils.registry import ARCH_REGISTRY

    import mambair.archs  # noqa: F401  (fills its registry)
    from mambair.archs.registry import registered_archs

    registering.register_all(ARCH_REGISTRY, registered_archs())


def basicsr_networks() -> Mapping[str, Any]:
    """BasicSR's networks by name; the entry point by which :mod:`mambair` finds them."""
    from basicsr.utils.registry import ARCH_REGISTRY

    return dict(iter(ARCH_REGISTRY))
