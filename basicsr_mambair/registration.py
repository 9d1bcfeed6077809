"""Puts everything an option file can name into BasicSR's registries."""

from __future__ import annotations

from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)

from basicsr_mambair import archs, data, models

_CONTENTS: list[tuple[Registry, tuple[type, ...]]] = [
    (ARCH_REGISTRY, (archs.MambaIRv2, archs.MambaIRv2Light)),
    (DATASET_REGISTRY, (data.MambaIRPairedDataset, data.DegradedImageDataset)),
    (MODEL_REGISTRY, (models.MambaIRv2Model, models.MambaIRv2LightModel)),
]


def register_all() -> None:
    """Registers the package's classes; a second call does nothing.

    Raises:
        ImportError: another package holds one of the names: the published MambaIR code, say, which
            replaces BasicSR by a fork of its own.
    """
    for registry, classes in _CONTENTS:
        registered = dict(iter(registry))
        for cls in classes:
            other = registered.get(cls.__name__)
            if other is cls:
                continue
            if other is not None:
                raise ImportError(
                    f"BasicSR's registry of {registry._name}s already has a {cls.__name__!r}, from "
                    f"{other.__module__}. basicsr-mambair works beside the BasicSR of PyPI; "
                    "uninstall the fork: pip uninstall basicsr && pip install basicsr==1.4.2"
                )
            registry.register(cls)
