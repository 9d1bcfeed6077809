"""Registers every network of :mod:`mambair`'s registry, and offers those of BasicSR to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

import mambair.archs  # noqa: F401  (fills its registry)
from basicsr_mambair.registering import registers_in
from mambair.archs.registry import for_every_arch

for_every_arch(registers_in(ARCH_REGISTRY))


def basicsr_networks() -> Mapping[str, Any]:
    """Returns BasicSR's networks by name; :mod:`mambair` finds them by this entry point."""
    # BasicSR registers some with a suffix that its own look-up adds.
    return {name.removesuffix("_basicsr"): network for name, network in ARCH_REGISTRY}
