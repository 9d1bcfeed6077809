"""DND's boxes, read from MATLAB's files: ``DNDDataset``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from basicsr_mambair.data.samples import to_tensor
from basicsr_mambair.data.sidd_dataset import check_measured
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.sections import DatasetOptions
from basicsr_mambair.registering import registers_in
from mambair.imaging.matlab.dnd import DndPictures, DndSubmission
from mambair.imaging.matlab.submission import Submission


@dataclass
class DNDOptions(DatasetOptions):
    """Keys of `DNDDataset`, which has no true pictures."""

    has_truth: ClassVar[bool] = False

    dataroot_lq: str = option(doc="Folder of DND: `info.mat` and `images_srgb/0001.mat`, ….")


@registers_in(DATASET_REGISTRY)
class DNDDataset(Dataset[dict[str, "Tensor | str"]]):
    """Reads the boxes of DND's sRGB photographs, to be restored and sent in.

    Args:
        opt: the dataset section of an option file.

    Attributes:
        paths: names of the boxes, ``FILE/0001_01``: photograph and box, counted from 1.

    Raises:
        ValueError: a file is missing or holds something else; names file and variable.
    """

    OPTIONS: ClassVar[type] = DNDOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.check_options(opt)
        self.opt = dict(opt)
        self._pictures = DndPictures(opt["dataroot_lq"])
        self.paths = [
            str(self._pictures.path(box.picture) / box.name) for box in self._pictures.boxes
        ]

    @staticmethod
    def check_options(opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` beginning with the key that is wrong; opens no file."""
        check_measured("DNDDataset", opt)

    @classmethod
    def check_files(cls, opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` if the files hold something else; reads their headers."""
        cls({**opt, "phase": "test"})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Returns ``lq``: float ``(3, H, W)``, RGB in [0, 1]; and ``lq_path``."""
        return {"lq": to_tensor(self._pictures.read(index)), "lq_path": self.paths[index]}

    def submission(self, folder: Path) -> Submission:
        """Writes results as DND's submission in a folder."""
        return DndSubmission(folder, self._pictures.boxes)
