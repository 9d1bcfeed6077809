"""Metrics beyond BasicSR's, under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)

from basicsr_mambair import registering
from basicsr_mambair.metrics.perceptual import calculate_dists, calculate_lpips
from basicsr_mambair.metrics.psnrb import calculate_psnrb

__all__ = ["calculate_dists", "calculate_lpips", "calculate_psnrb"]


def register_all() -> None:
    """Registers the contents of this folder."""
    from basicsr.utils.registry import METRIC_REGISTRY

    registering.register_all(METRIC_REGISTRY, (calculate_dists, calculate_lpips, calculate_psnrb))
