"""Datasets and degradations, under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)

from basicsr_mambair.data.degraded_image_dataset import DegradedImageDataset
from basicsr_mambair.data.paired_image_dataset import Dataset_PairedImage, MambaIRPairedDataset
from basicsr_mambair.data.realesrgan_dataset import RealESRGANDataset
from basicsr_mambair.data.realesrgan_paired_dataset import RealESRGANPairedDataset

__all__ = [
    "Dataset_PairedImage",
    "DegradedImageDataset",
    "MambaIRPairedDataset",
    "RealESRGANDataset",
    "RealESRGANPairedDataset",
]
