"""Datasets and degradations, under the names that option files use."""

from basicsr_mambair.data.degraded_image_dataset import DegradedImageDataset
from basicsr_mambair.data.paired_image_dataset import MambaIRPairedDataset

__all__ = ["DegradedImageDataset", "MambaIRPairedDataset"]
