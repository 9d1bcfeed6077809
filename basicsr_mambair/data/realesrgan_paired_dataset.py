"""Pairs for Real-ESRGAN's models: ``RealESRGANPairedDataset``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_mambair.data.paired_image_dataset import MambaIRPairedDataset, Pair
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.sections import CropOptions, DatasetOptions
from basicsr_mambair.registering import SUFFIX, registers_in
from mambair.imaging.errors import PictureError
from mambair.imaging.pairs import read_meta_info


@dataclass
class RealESRGANPairedOptions(CropOptions, DatasetOptions):
    """Keys of `RealESRGANPairedDataset`."""

    dataroot_gt: str | list[str] = option(doc="Folder (or folders) of true pictures, or `.lmdb`.")
    dataroot_lq: str | list[str] = option(
        doc="Folders of pictures to restore, one for each of `dataroot_gt`."
    )
    meta_info: str | None = option(
        None, doc="File with a pair `GT, LQ` on each line; null: pairs by file names."
    )
    filename_tmpl: str = option("{}", doc="Name of an LQ file; {} is that of the GT file.")


@registers_in(DATASET_REGISTRY, SUFFIX)
class RealESRGANPairedDataset(MambaIRPairedDataset):
    """LQ/GT pairs, whose names a ``meta_info`` file may list as ``GT, LQ``.

    Otherwise it is :class:`MambaIRPairedDataset`.

    Args:
        opt: the dataset section of an option file, with ``phase`` and ``scale``.

    Raises:
        ValueError: see :class:`MambaIRPairedDataset`; a line does not name two files.
    """

    OPTIONS = RealESRGANPairedOptions

    def _find_pairs(self, index: int) -> list[Pair]:
        meta_info = self.opt.get("meta_info")
        if not meta_info or self.io["type"] == "lmdb":
            return super()._find_pairs(index)
        roots = self._roots[index]
        pairs = []
        for line in read_meta_info(meta_info):
            names = line.split(", ")
            if len(names) != 2:
                raise PictureError(f"{meta_info}: {line!r} does not name a pair: GT, LQ")
            gt, lq = (Path(str(root)) / name for root, name in zip(roots, names, strict=True))
            for path in (gt, lq):
                if not path.is_file():
                    raise PictureError(f"{path}: there is no such file ({meta_info} names it)")
            pairs.append(Pair(index, str(gt), str(lq)))
        return pairs
