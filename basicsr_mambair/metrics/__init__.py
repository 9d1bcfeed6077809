"""Metrics in addition to BasicSR's, under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)

from basicsr_mambair.metrics.perceptual import calculate_dists, calculate_lpips
from basicsr_mambair.metrics.psnrb import calculate_psnrb
from basicsr_mambair.metrics.ssim_matlab import calculate_ssim_matlab

__all__ = ["calculate_dists", "calculate_lpips", "calculate_psnrb", "calculate_ssim_matlab"]
