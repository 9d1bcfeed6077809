"""Puts everything an option file can name into BasicSR's registries."""

from __future__ import annotations

from typing import Any

from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)

from basicsr_mambair import archs, data, metrics, models

_CONTENTS: list[tuple[Registry, tuple[Any, ...]]] = [
    (ARCH_REGISTRY, (archs.MambaIR, archs.MambaIRv2, archs.MambaIRv2Light)),
    (DATASET_REGISTRY, (data.MambaIRPairedDataset, data.DegradedImageDataset)),
    (METRIC_REGISTRY, (metrics.calculate_dists, metrics.calculate_lpips, metrics.calculate_psnrb)),
    (MODEL_REGISTRY, (models.MambaIRModel, models.MambaIRv2Model, models.MambaIRv2LightModel)),
]


def register_all() -> None:
    """Registers the package's classes and functions; a second call does nothing.

    Raises:
        ImportError: another package holds one of the names: the published MambaIR code, say, which
            replaces BasicSR by a fork of its own.
    """
    for registry, contents in _CONTENTS:
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
