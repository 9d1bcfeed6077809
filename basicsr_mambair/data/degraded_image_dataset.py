"""Trains from a folder of pictures: LQ is computed when a picture is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from basicsr_mambair.data.degradations import Degradation, Drawn, build_degradation
from basicsr_mambair.data.degradations.arguments import check_arguments
from basicsr_mambair.data.samples import (
    draw_orientation,
    normalize,
    orient,
    random_window,
    to_tensor,
)
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.sections import CropOptions, DatasetOptions
from basicsr_mambair.registering import registers_in
from mambair.imaging.listing import as_list, list_pictures
from mambair.imaging.pairs import check_crop
from mambair.imaging.pixels import Pixels, luminance, to_float
from mambair.imaging.reading import decode_picture, read_file
from mambair.imaging.resizing import crop_to_multiple


@dataclass
class DegradedOptions(CropOptions, DatasetOptions):
    """Keys of `DegradedImageDataset`."""

    dataroot_gt: str | list[str] = option(
        doc="Folder (or folders) of pictures; `pkg://package/folder` is one of a package."
    )
    include: str | list[str] = option("*", doc="Patterns of file names, of which one must match.")
    exclude: str | list[str] | None = option(
        None, doc="Patterns of file names, of which none may match."
    )
    degradation: dict[str, Any] | str | list[Any] | None = option(
        None,
        doc="`{type: …}`, or a list of them, applied in order.",
        shown="bicubic by `scale`",
        check=lambda value: None if value else "is empty; null stands for bicubic",
    )
    gray: bool = option(False, doc="Read pictures as gray.")
    cache_in_memory: bool = option(False, doc="Keep decoded pictures.")


@registers_in(DATASET_REGISTRY)
class DegradedImageDataset(Dataset[dict[str, Tensor | str]]):
    """High-quality pictures, degraded when they are read.

    Keys of its section:

    - ``dataroot_gt``: a folder or a list of folders; ``pkg://package/folder`` is a folder inside an
      installed package (``pkg://skimage/data``);
    - ``include``, ``exclude``: glob patterns of file names;
    - ``degradation``: ``{type: bicubic}``, ``{type: gaussian_noise, sigma: 25}``, ``{type: jpeg,
      quality: [10, 40]}``, or a list of them, applied in order (``docs/degradations.md`` lists
      them). Default: ``bicubic`` by ``scale``;
    - ``gray``: read pictures as gray;
    - ``cache_in_memory``: keep decoded pictures;
    - ``gt_size``, ``use_hflip``, ``use_rot``, ``color: y``, ``mean``, ``std`` as in
      ``PairedImageDataset``.

    In training, a window is cropped with as much context as the degradation needs, so that a crop's
    LQ is the crop of the picture's LQ. Otherwise whole pictures, cut to a multiple of ``scale``,
    are degraded with a generator seeded by their index, so that their LQ is the same every time.

    Args:
        opt: the dataset section of an option file, with ``phase`` and ``scale``.

    Raises:
        ValueError: an option is wrong (the message begins with its key), or there is no picture.
    """

    OPTIONS = DegradedOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.check_options(opt)
        self.opt = dict(opt)
        self.scale = int(opt.get("scale", 1))
        self.degradation = _degradation(opt)
        self.paths: list[Path] = []
        for root in as_list(opt["dataroot_gt"]):
            self.paths += list_pictures(
                root, as_list(opt.get("include", "*")), as_list(opt.get("exclude"))
            )
        self._cache: dict[int, Pixels] = {}

    @staticmethod
    def check_options(opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` beginning with the key that is wrong; opens no file."""
        if not as_list(opt.get("dataroot_gt")):
            raise ValueError("dataroot_gt: must be a folder or a list of folders")
        check_arguments(opt.get("degradation"))
        try:
            factor = _degradation(opt).factor
        except ValueError as error:
            raise ValueError(f"degradation.{error}") from error
        scale = int(opt.get("scale", 1))
        if (opt.get("io_backend") or {}).get("type", "disk") != "disk":
            raise ValueError("io_backend.type: must be 'disk'; pictures are read from files")
        if factor != scale:
            raise ValueError(f"degradation: must shrink by scale {scale}, but shrinks by {factor}")
        check_crop(opt)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Returns a sample.

        Returns:
            ``lq`` and ``gt``: float ``(C, H, W)`` in [0, 1], RGB or gray; ``lq_path`` and
            ``gt_path``; ``drawn``: what was drawn for it, JSON text for :meth:`replay`.
        """
        image = self._read(index)
        if self.opt["phase"] == "train":
            drawn = self._draw_crop(image, str(self.paths[index]))
        else:
            drawn = {"degradation": self.degradation.draw(np.random.default_rng(index))}
        return self._sample(image, index, drawn)

    def replay(self, index: int, drawn: str) -> dict[str, Tensor | str]:
        """Returns the sample of a picture for which ``drawn`` was drawn, bit for bit.

        Args:
            index: number of the picture.
            drawn: the entry of that name in a sample.
        """
        return self._sample(self._read(index), index, json.loads(drawn))

    def _sample(self, image: Pixels, index: int, drawn: Drawn) -> dict[str, Tensor | str]:
        if "window" in drawn:
            gt, lq = self._crop(image, drawn)
        else:
            gt = crop_to_multiple(image, self.scale)
            lq = self.degradation.apply(gt, drawn["degradation"])
        gt, lq = to_float(gt), to_float(lq)
        if self.opt.get("color") == "y":
            gt, lq = luminance(gt), luminance(lq)
        path = str(self.paths[index])
        return {
            "lq": normalize(to_tensor(lq), self.opt),
            "gt": normalize(to_tensor(gt), self.opt),
            "lq_path": path,
            "gt_path": path,
            "drawn": json.dumps(drawn),
        }

    def _draw_crop(self, image: Pixels, name: str) -> Drawn:
        height, width = (side // self.scale for side in image.shape[:2])  # of LQ
        side = self.opt["gt_size"] // self.scale
        top, left = random_window(height, width, side, name)
        rng = np.random.default_rng(np.random.randint(2**31))  # from the sample's stream
        return {
            "window": [top, left, side],
            "degradation": self.degradation.draw(rng),
            "orientation": draw_orientation(
                self.opt.get("use_hflip", True), self.opt.get("use_rot", True)
            ),
        }

    def _crop(self, image: Pixels, drawn: Drawn) -> list[Pixels]:
        """GT and LQ of the window that was drawn."""
        scale, halo, grid = self.scale, self.degradation.halo, self.degradation.grid
        height, width = (side // scale for side in image.shape[:2])  # of LQ
        top, left, side = drawn["window"]
        # Window of LQ with its context, on the grid, cut at the borders of the picture.
        up, begin = (max(0, (at - halo) // grid * grid) for at in (top, left))
        down, end = (
            min(most, -(-(at + side + halo) // grid) * grid)
            for at, most in ((top, height), (left, width))
        )
        window = image[up * scale : down * scale, begin * scale : end * scale]
        lq = self.degradation.apply(window, drawn["degradation"])
        lq = lq[top - up :, left - begin :][:side, :side]
        gt = image[top * scale :, left * scale :][: side * scale, : side * scale]
        return orient([gt, lq], drawn["orientation"])

    def _read(self, index: int) -> Pixels:
        if index in self._cache:
            return self._cache[index]
        path = self.paths[index]
        image = decode_picture(read_file(path), str(path), gray=bool(self.opt.get("gray")))
        if self.opt.get("cache_in_memory"):
            self._cache[index] = image
        return image


def _degradation(opt: Mapping[str, Any]) -> Degradation:
    sections = as_list(opt.get("degradation") or {"type": "bicubic"})
    return build_degradation(sections, int(opt.get("scale", 1)))
