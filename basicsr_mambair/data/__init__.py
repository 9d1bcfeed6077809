"""Datasets and degradations, under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)

from basicsr_mambair.data.degraded_image_dataset import DegradedImageDataset
from basicsr_mambair.data.dnd_dataset import DNDDataset
from basicsr_mambair.data.paired_image_dataset import Dataset_PairedImage, MambaIRPairedDataset
from basicsr_mambair.data.realesrgan_dataset import RealESRGANDataset
from basicsr_mambair.data.realesrgan_paired_dataset import RealESRGANPairedDataset
from basicsr_mambair.data.sidd_dataset import SIDDBlocksDataset

__all__ = [
    "DNDDataset",
    "Dataset_PairedImage",
    "DegradedImageDataset",
    "MambaIRPairedDataset",
    "RealESRGANDataset",
    "RealESRGANPairedDataset",
    "SIDDBlocksDataset",
]
