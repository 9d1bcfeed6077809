"""Datasets and degradations, under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)

from basicsr_mambair import registering
from basicsr_mambair.data.degraded_image_dataset import DegradedImageDataset
from basicsr_mambair.data.paired_image_dataset import MambaIRPairedDataset

__all__ = ["DegradedImageDataset", "MambaIRPairedDataset"]


def register_all() -> None:
    """Registers the contents of this folder."""
    from basicsr.utils.registry import DATASET_REGISTRY

    registering.register_all(DATASET_REGISTRY, (MambaIRPairedDataset, DegradedImageDataset))
