"""LQ/GT pairs: the ``PairedImageDataset`` of the published MambaIR option files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from basicsr_mambair.data.samples import (
    normalize,
    random_orientation,
    random_window,
    to_tensor,
)
from basicsr_mambair.data.stores import read_bytes
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.sections import CropOptions, DatasetOptions
from basicsr_mambair.registering import registers_in
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import as_list, list_pictures
from mambair.imaging.pairs import (
    TASKS,
    check_crop,
    check_pair_options,
    check_pair_size,
    find_partner,
    keys_of_lmdb,
    list_names,
    read_meta_info,
)
from mambair.imaging.pixels import Pixels, luminance, to_float
from mambair.imaging.reading import decode_picture, picture_size

# Sizes are compared at start-up for at most this many pairs: a header takes about 0.1 ms.
_CHECKED_PAIRS = 2000


@dataclass(frozen=True)
class Pair:
    """Two files, or keys of an LMDB."""

    root: int  # which of the data roots
    gt: str  # path, or key in an LMDB
    lq: str | None  # None: made from GT


@dataclass
class PairedOptions(CropOptions, DatasetOptions):
    """Keys of `MambaIRPairedDataset`."""

    task: Literal["SR", "CAR", "denoising_gray", "denoising_color"] = option(
        "SR", doc="Kind of pairs: `CAR` (JPEG artifacts) is gray; the denoising tasks add noise."
    )
    noise: float | None = option(
        None, doc="σ of the denoising tasks, in gray levels of 255.", ge=0, le=255
    )
    dataroot_gt: str | list[str] = option(doc="Folder (or folders) of true pictures, or `.lmdb`.")
    dataroot_lq: str | list[str] | None = option(
        None,
        doc="Folders of pictures to restore, one for each of `dataroot_gt`; not for denoising.",
    )
    meta_info_file: str | None = option(None, doc="File that names the pictures, one on each line.")
    filename_tmpl: str = option(
        "{}", doc="Name of a picture to restore after that of the true one: `{}x2`."
    )


@registers_in(DATASET_REGISTRY)
class MambaIRPairedDataset(Dataset[dict[str, Tensor | str]]):
    """Reads LQ/GT pairs, or GT to which it adds noise.

    An option file selects it by ``type: MambaIRPairedDataset``, or by ``type:
    PairedImageDataset`` together with a model or a key of this package (see ``docs/data.md``).
    In addition to the keys of BasicSR's ``PairedImageDataset`` it has:

    - ``task``: ``SR`` (default), ``CAR`` (JPEG artifacts; gray pairs), ``denoising_gray``,
      ``denoising_color`` (GT only; noise is added);
    - ``noise``: σ in gray levels of 255, for the denoising tasks. In training it comes from
      numpy's stream of the worker. Otherwise every picture gets the noise of
      ``numpy.random.seed(0)``, in BGR order, as in the published evaluation; numpy's global state
      does not change. Noisy pictures are neither clipped nor quantized;
    - ``dataroot_gt``, ``dataroot_lq``: a folder or a list of folders (or of ``.lmdb`` folders).

    HQ and LQ may differ in extension (``.png`` and ``.jpg``).

    Args:
        opt: the dataset section of an option file, with ``phase`` and ``scale``.

    Raises:
        ValueError: an option is wrong (the message begins with its key); a folder is empty, a
            picture has no partner, or sizes do not match by ``scale`` (the message names it).
    """

    OPTIONS: ClassVar[type] = PairedOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.check_options(opt)
        self.opt = dict(opt)
        self.scale = int(opt.get("scale", 1))
        self.gray, self.adds_noise = TASKS[opt.get("task", "SR")]
        self.io = dict(opt.get("io_backend") or {"type": "disk"})
        gt_roots = as_list(opt["dataroot_gt"])
        lq_roots = [] if self.adds_noise else as_list(opt["dataroot_lq"])
        self._roots = list(zip(gt_roots, lq_roots or [None] * len(gt_roots), strict=True))
        self.pairs = [pair for i in range(len(self._roots)) for pair in self._find_pairs(i)]
        if self.io["type"] == "disk":
            self._check_sizes()

    @staticmethod
    def check_options(opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` beginning with the key that is wrong; opens no file."""
        check_pair_options(opt)
        check_crop(opt)

    def _find_pairs(self, index: int) -> list[Pair]:
        gt_root, lq_root = self._roots[index]
        if self.io["type"] == "lmdb":
            return self._pairs_of_lmdb(index, gt_root, lq_root)
        meta_info = self.opt.get("meta_info_file")
        if meta_info:
            gt_paths = [Path(gt_root) / name for name in read_meta_info(meta_info)]
        else:
            gt_paths = list_pictures(gt_root)
        listings: dict[Path, dict[str, str]] = {}
        if meta_info:
            for path in gt_paths:
                if path.name not in list_names(path.parent, listings).values():
                    raise PictureError(f"{path}: there is no such file ({meta_info} names it)")
        if lq_root is None:
            return [Pair(index, str(path), None) for path in gt_paths]
        template = self.opt.get("filename_tmpl", "{}")
        return [
            Pair(index, str(path), str(find_partner(path, gt_root, lq_root, template, listings)))
            for path in gt_paths
        ]

    def _pairs_of_lmdb(self, index: int, gt_root: str, lq_root: str | None) -> list[Pair]:
        gt_keys = keys_of_lmdb(gt_root)
        if lq_root is None:
            return [Pair(index, key, None) for key in gt_keys]
        lq_keys = set(keys_of_lmdb(lq_root))
        template = self.opt.get("filename_tmpl", "{}")
        pairs = []
        for key in gt_keys:
            partner = key if key in lq_keys else template.format(key)
            if partner not in lq_keys:
                raise PictureError(f"{gt_root}: key {key!r} has no partner in {lq_root}")
            pairs.append(Pair(index, key, partner))
        return pairs

    def _check_sizes(self) -> None:
        """Compares sizes in the headers of the first pairs; the rest is checked when read."""
        for pair in self.pairs[:_CHECKED_PAIRS]:
            if pair.lq is None:
                continue
            try:
                gt, lq = picture_size(pair.gt), picture_size(pair.lq)
            except PictureError:
                if self.opt["phase"] == "train" and self.opt.get("on_bad_image") != "skip":
                    raise
                continue  # reading it will say so; the others can still be measured
            self._check_size(pair, gt, lq)

    def _check_size(self, pair: Pair, gt: tuple[int, ...], lq: tuple[int, ...]) -> None:
        """Requires GT to be ``scale`` times LQ, or at most ``scale − 1`` pixels more in testing."""
        check_pair_size(pair.gt, gt, str(pair.lq), lq, self.scale, self.opt["phase"] == "train")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Returns a sample.

        Returns:
            ``lq`` and ``gt``: float ``(C, H, W)`` in [0, 1], RGB or gray (a noisy ``lq`` may
            exceed that range); ``lq_path`` and ``gt_path``.
        """
        pair = self.pairs[index]
        gt_root, lq_root = self._roots[pair.root]
        gt = self._read(pair.gt, gt_root)
        lq = gt if pair.lq is None else self._read(pair.lq, lq_root)
        self._check_size(pair, gt.shape, lq.shape)
        scale = self.scale
        if self.opt["phase"] == "train":
            side = self.opt["gt_size"] // scale
            top, left = random_window(lq.shape[0], lq.shape[1], side, pair.lq or pair.gt)
            lq = lq[top : top + side, left : left + side]
            top, left, side = top * scale, left * scale, side * scale
            gt = gt[top : top + side, left : left + side]
            gt, lq = random_orientation(
                [gt, lq], self.opt.get("use_hflip", True), self.opt.get("use_rot", True)
            )
        else:
            gt = gt[: lq.shape[0] * scale, : lq.shape[1] * scale]
        if pair.lq is None:
            lq = self._add_noise(gt)
        if self.opt.get("color") == "y":
            gt, lq = luminance(gt), luminance(lq)
        return {
            "lq": normalize(to_tensor(lq), self.opt),
            "gt": normalize(to_tensor(gt), self.opt),
            "lq_path": pair.lq or pair.gt,
            "gt_path": pair.gt,
        }

    def _read(self, path: str, root: str) -> Pixels:
        """Returns pixels in [0, 1], float32 ``(H, W, C)``, BGR or gray."""
        name = f"{root}: key {path!r}" if self.io["type"] == "lmdb" else path
        return to_float(decode_picture(read_bytes(self.io, root, path), name, gray=self.gray))

    def _add_noise(self, gt: Pixels) -> Pixels:
        sigma = self.opt["noise"] / 255.0
        if self.opt["phase"] == "train":
            noise = np.random.normal(0, sigma, gt.shape)
        else:
            # The published evaluation calls numpy.random.seed(0) before each picture.
            noise = np.random.RandomState(0).normal(0, sigma, gt.shape)
        return (gt + noise).astype(np.float32)


@dataclass
class GeometricPairedOptions(PairedOptions):
    """Keys of `Dataset_PairedImage`."""

    geometric_augs: bool = option(True, doc="Flip and transpose at random; false: neither.")


@registers_in(DATASET_REGISTRY)
class Dataset_PairedImage(MambaIRPairedDataset):  # noqa: N801  (the name in option files)
    """:class:`MambaIRPairedDataset` under the name of Restormer's option files, and their key.

    Args:
        opt: the dataset section of an option file, with ``phase`` and ``scale``.

    Raises:
        ValueError: see :class:`MambaIRPairedDataset`.
    """

    OPTIONS: ClassVar[type] = GeometricPairedOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        if not opt.get("geometric_augs", True):
            opt = {**opt, "use_hflip": False, "use_rot": False}
        super().__init__(opt)
