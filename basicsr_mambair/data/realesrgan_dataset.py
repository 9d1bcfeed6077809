"""True pictures for models that degrade them: Real-ESRGAN's ``RealESRGANDataset``."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from basicsr.data.degradations import circular_lowpass_kernel, random_mixed_kernels
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from basicsr_mambair.data.samples import random_orientation, random_window, to_tensor
from basicsr_mambair.data.second_order_options import PUBLISHED, with_blur_options
from basicsr_mambair.data.stores import read_bytes
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.progressive import ProgressiveOptions
from basicsr_mambair.options.sections import DatasetOptions
from basicsr_mambair.registering import SUFFIX, registers_in
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import as_list, list_pictures
from mambair.imaging.pairs import keys_of_lmdb, read_meta_info
from mambair.imaging.pixels import Pixels, to_float
from mambair.imaging.reading import decode_picture

_SMALLEST_KERNEL = 7
_LARGEST_SEED = 2**62


@dataclass
class _Options(ProgressiveOptions, DatasetOptions):
    """Keys of `RealESRGANDataset`."""

    has_truth: ClassVar[bool] = False  # what it has is degraded by the model, in training alone

    dataroot_gt: str | list[str] = option(
        doc="Folder (or folders) of true pictures, or `.lmdb`; `pkg://package/folder` works too."
    )
    meta_info: str | None = option(
        None, doc="File that names the pictures, one on each line; null: the whole folder."
    )
    meta_info_file: str | None = option(None, doc="The same under the name that HAT's files use.")
    include: str | list[str] = option("*", doc="Patterns of file names, of which one must match.")
    exclude: str | list[str] | None = option(
        None, doc="Patterns of file names, of which none may match."
    )
    crop_size: int = option(
        400,
        doc="Side of the pictures that are degraded, in the stage of the largest crops; smaller "
        "ones are mirrored.",
        ge=1,
        le=2**14,
    )
    gt_size: int | None = option(
        None, doc="Side of the crops, if the top of the file does not have it.", ge=1, le=2**20
    )
    use_hflip: bool = option(True, doc="Flip left–right at random.", filled=True)
    use_rot: bool = option(True, doc="Flip up–down and transpose at random.", filled=True)
    cache_in_memory: bool = option(False, doc="Keep decoded pictures.")
    final_sinc_prob: float = option(0.8, doc="Probability of a sinc at the end.", ge=0, le=1)


RealESRGANDatasetOptions = with_blur_options(_Options)


@registers_in(DATASET_REGISTRY, SUFFIX)
class RealESRGANDataset(Dataset[dict[str, Any]]):
    """True pictures, cropped to one size, and what is random about their degradation.

    It takes the option files of Real-ESRGAN, and more: ``meta_info`` may be left out, folders may
    be several, and the side 400 is an option. A sample has ``degradation_seed``, from which the
    models of this package draw its degradation, so that it does not depend on workers or batches;
    and the kernels that models of other packages (``realesrgan``, HAT) filter with.

    Args:
        opt: the dataset section of an option file, with ``phase`` and ``scale``.

    Raises:
        ValueError: an option is wrong (the message begins with its key); there is no picture.
    """

    OPTIONS = RealESRGANDatasetOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.check_options(opt)
        self.opt = {**PUBLISHED, **opt}
        self.io = dict(opt.get("io_backend") or {"type": "disk"})
        self.crop_size = int(opt.get("crop_size") or _Options.crop_size)
        self.pictures = [
            (root, path) for root in as_list(opt["dataroot_gt"]) for path in self._list(root)
        ]
        self._cache: dict[str, Pixels] = {}

    @staticmethod
    def check_options(opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` beginning with the key that is wrong; opens no file."""
        if not as_list(opt.get("dataroot_gt")):
            raise ValueError("dataroot_gt: must be a folder or a list of folders")
        if opt.get("phase", "train") != "train":
            raise ValueError(
                "type: RealESRGANDataset has no pictures to restore, so it is for training; "
                "validate with DegradedImageDataset or PairedImageDataset"
            )
        scale = int(opt.get("scale", 1))
        side, gt_size = opt.get("crop_size") or _Options.crop_size, opt.get("gt_size")
        if gt_size is not None and gt_size % scale:
            raise ValueError(f"gt_size: must be a multiple of scale {scale}, got {gt_size}")
        if gt_size is not None and side < gt_size:
            raise ValueError(f"crop_size: must be at least gt_size {gt_size}, got {side}")
        for second in ("", "2"):
            kinds = opt.get(f"kernel_list{second}", PUBLISHED[f"kernel_list{second}"])
            chances = opt.get(f"kernel_prob{second}", PUBLISHED[f"kernel_prob{second}"])
            if len(kinds) != len(chances):
                raise ValueError(
                    f"kernel_prob{second}: has {len(chances)} entries where kernel_list{second} "
                    f"has {len(kinds)}"
                )

    def _list(self, root: str) -> list[str]:
        if self.io["type"] == "lmdb":
            return keys_of_lmdb(root)
        meta_info = self.opt.get("meta_info") or self.opt.get("meta_info_file")
        if not meta_info:
            include, exclude = as_list(self.opt.get("include", "*")), self.opt.get("exclude")
            return [str(path) for path in list_pictures(root, include, as_list(exclude))]
        paths = [Path(root) / name for name in read_meta_info(meta_info)]
        for path in paths:
            if not path.is_file():
                raise PictureError(f"{path}: there is no such file ({meta_info} names it)")
        return [str(path) for path in paths]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a sample.

        Returns:
            ``gt``: float ``(3, S, S)`` in [0, 1], RGB, S the ``crop_size``; ``gt_path``;
            ``degradation_seed``: int; ``kernel1``, ``kernel2``, ``sinc_kernel``: float ``(K, K)``
            of sum 1.
        """
        root, path = self.pictures[index]
        (picture,) = random_orientation(
            [self._read(root, path)], self.opt.get("use_hflip", True), self.opt.get("use_rot", True)
        )
        return {
            "gt": to_tensor(to_float(self._crop(picture, path))),
            "gt_path": path,
            "degradation_seed": int(np.random.randint(_LARGEST_SEED, dtype=np.int64)),
            "kernel1": self._blur_kernel(""),
            "kernel2": self._blur_kernel("2"),
            "sinc_kernel": self._sinc_kernel(),
        }

    def _read(self, root: str, path: str) -> Pixels:
        name = f"{root}: key {path!r}" if self.io["type"] == "lmdb" else path
        if name in self._cache:
            return self._cache[name]
        picture = decode_picture(read_bytes(self.io, root, path), name)
        if self.opt.get("cache_in_memory"):
            self._cache[name] = picture
        return picture

    def _crop(self, picture: Pixels, name: str) -> Pixels:
        """A random square; a picture that is too small is mirrored to the right and below."""
        # Borders are degraded unlike the inside, so the margin around the crop is always the same.
        side = self.crop_size
        if self.opt.get("gt_sizes"):
            side -= max(self.opt["gt_sizes"]) - self.opt["gt_size"]
        height, width = picture.shape[:2]
        missing = max(0, side - height), max(0, side - width)
        if any(missing):
            picture = cv2.copyMakeBorder(
                picture, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT_101
            )
        height, width = picture.shape[:2]
        top, left = random_window(height, width, side, name)
        return picture[top : top + side, left : left + side]

    def _blur_kernel(self, second: str) -> Tensor:
        """A kernel as BasicSR draws it, for models that do not draw one themselves."""
        largest = self.opt[f"blur_kernel_size{second}"]
        size = random.choice(range(_SMALLEST_KERNEL, largest + 1, 2))
        if np.random.uniform() < self.opt[f"sinc_prob{second}"]:
            # Small kernels do not hold the ringing of low frequencies.
            lowest = math.pi / (3 if size < 13 else 5)
            kernel = circular_lowpass_kernel(np.random.uniform(lowest, math.pi), size, pad_to=False)
        else:
            sigma = self.opt[f"blur_sigma{second}"]
            kernel = random_mixed_kernels(
                self.opt[f"kernel_list{second}"],
                self.opt[f"kernel_prob{second}"],
                size,
                sigma,
                sigma,
                [-math.pi, math.pi],
                self.opt[f"betag_range{second}"],
                self.opt[f"betap_range{second}"],
                noise_range=None,
            )
        return _padded(kernel, largest)

    def _sinc_kernel(self) -> Tensor:
        largest = 21
        if np.random.uniform() >= self.opt["final_sinc_prob"]:
            return _padded(np.ones((1, 1)), largest)  # changes nothing
        size = random.choice(range(_SMALLEST_KERNEL, largest + 1, 2))
        frequency = np.random.uniform(math.pi / 3, math.pi)
        return _padded(circular_lowpass_kernel(frequency, size, pad_to=False), largest)


def _padded(kernel: Any, side: int) -> Tensor:
    margin = (side - len(kernel)) // 2
    return torch.from_numpy(np.pad(kernel, margin)).float()
