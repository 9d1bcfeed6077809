"""SIDD's blocks, read from MATLAB's files: ``SIDDBlocksDataset``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from basicsr_mambair.data.paired_image_dataset import Pair
from basicsr_mambair.data.samples import to_tensor
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.sections import DatasetOptions
from basicsr_mambair.registering import registers_in
from mambair.imaging.matlab.sidd import SiddBlocks, SiddSubmission, check_blocks_match
from mambair.imaging.matlab.submission import Submission
from mambair.imaging.pixels import to_float


@dataclass
class SIDDBlocksOptions(DatasetOptions):
    """Keys of `SIDDBlocksDataset`."""

    truth_key: ClassVar[str] = "dataroot_gt"

    dataroot_lq: str = option(doc="`ValidationNoisyBlocksSrgb.mat`, or another file of blocks.")
    dataroot_gt: str | None = option(
        None, doc="`ValidationGtBlocksSrgb.mat`; null: there is no truth, as of SIDD's benchmark."
    )


@registers_in(DATASET_REGISTRY)
class SIDDBlocksDataset(Dataset[dict[str, "Tensor | str"]]):
    """Reads blocks of SIDD from its MATLAB files, for measuring; none is unpacked on the disk.

    Args:
        opt: the dataset section of an option file.

    Attributes:
        pairs: names of the blocks, ``FILE/0001_01``: scene and block, counted from 1.

    Raises:
        ValueError: a file cannot be read, or holds something else; names file and variable.
    """

    OPTIONS: ClassVar[type] = SIDDBlocksOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.check_options(opt)
        self.opt = dict(opt)
        self._noisy = SiddBlocks(opt["dataroot_lq"])
        self._true = SiddBlocks(opt["dataroot_gt"]) if opt.get("dataroot_gt") else None
        if self._true is not None:
            check_blocks_match(self._true, self._noisy)
        truth = (self._true or self._noisy).path
        self.pairs = [
            Pair(0, str(truth / name), str(self._noisy.path / name)) for name in self._noisy.names
        ]

    @staticmethod
    def check_options(opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` beginning with the key that is wrong; opens no file."""
        check_measured("SIDDBlocksDataset", opt)
        for key in ("dataroot_lq", "dataroot_gt"):
            if opt.get(key) and Path(opt[key]).suffix != ".mat":
                raise ValueError(f"{key}: must be a MATLAB file (.mat), got {opt[key]}")

    @classmethod
    def check_files(cls, opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` if the files hold something else; reads their headers."""
        cls({**opt, "phase": "test"})

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Returns ``lq`` and, if there is a truth, ``gt``: float ``(3, H, W)``, RGB in [0, 1]."""
        pair = self.pairs[index]
        sample: dict[str, Tensor | str] = {
            "lq": to_tensor(to_float(self._noisy.read(index))),
            "lq_path": str(pair.lq),
        }
        if self._true is not None:
            sample["gt"] = to_tensor(to_float(self._true.read(index)))
            sample["gt_path"] = pair.gt
        return sample

    def submission(self, folder: Path) -> Submission:
        """Collects results as ``Idenoised.mat`` in a folder."""
        return SiddSubmission(folder, self._noisy)


def check_measured(dataset: str, opt: Mapping[str, Any]) -> None:
    """Refuses to train on a benchmark."""
    if opt.get("phase") == "train":
        raise ValueError(f"type: {dataset} is for measuring, not for training")
