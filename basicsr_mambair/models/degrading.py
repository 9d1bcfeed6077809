"""Models that degrade true pictures on their own device, as Real-ESRGAN trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import basicsr  # noqa: F401  (activates the plugin before anything here is used)
import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from basicsr_mambair.data.degradations import Degradation, Drawn, build_degradation
from basicsr_mambair.data.degradations.chain import Chain
from basicsr_mambair.data.second_order_options import second_order_section, with_stage_options
from basicsr_mambair.models.pair_pool import PairPool
from basicsr_mambair.models.restoration_model import RestorationModel
from basicsr_mambair.models.usm import sharpen_by_usm
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.progressive import Stages
from basicsr_mambair.options.sections import TopOptions
from mambair.imaging.listing import as_list


@dataclass
class _Top(TopOptions):
    """The degradation on the fly."""

    scale: int = option(doc="Factor by which the network enlarges.", ge=1, le=64)
    gt_size: int = option(
        required=False,
        doc="Side of the crops that are trained on, in pixels of the result.",
        ge=1,
        le=2**20,
        shown="that of the dataset",
    )
    queue_size: int = option(
        180, doc="Pairs that are mixed between batches, anew in every stage; 0: none.", ge=0
    )
    second_blur_prob: float = option(0.8, doc="Probability of the second blur.", ge=0, le=1)
    high_order_degradation: bool = option(True, doc="Degrade on the fly; else read pairs.")
    degradation: dict[str, Any] | str | list[Any] | None = option(
        None,
        doc="`{type: …}`, or a list of them, applied in order.",
        shown="`second_order` with the keys of this file",
    )


DegradingTop: Any = with_stage_options(_Top)


class DegradesBatches(RestorationModel):
    """Makes the input of the network from true pictures, on the device of the model.

    What is random about a sample is drawn from its ``degradation_seed``, which the dataset gives;
    for datasets of other packages, which give none, from (``manual_seed``, process, iteration,
    place in the batch). Then a square of ``gt_size`` is cut out, and the pair passes through a
    pool of ``queue_size`` pairs. Samples that bring their input are taken as they are.

    Attributes:
        drawn: what was drawn for the last batch that was degraded: for each sample the draw of the
            degradation and the corner of the crop, as plain values.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.drawn: list[Drawn] = []
        self.iteration = 1
        self.degradation: Degradation | None = None
        if not self.is_train or not opt.get("high_order_degradation", True):
            return
        self.degradation = degradation_of(opt)
        self.gt_size = gt_size_of(opt)
        self.stages = Stages.of(opt["datasets"]["train"])
        self.seed = int(opt.get("manual_seed") or 0)
        self.pool = PairPool(int(opt.get("queue_size", _Top.queue_size)), self.seed, opt["rank"])

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError``, beginning with the key, if training cannot work."""
        super().check_options(opt)
        if not opt.get("is_train"):
            return
        section, scale = opt["datasets"]["train"], int(opt["scale"])
        side = gt_size_of(opt)
        if side is None:
            raise ValueError("gt_size: is missing, here and in datasets.train")
        if side % scale:
            raise ValueError(f"gt_size: must be a multiple of scale {scale}, got {side}")
        if not opt.get("high_order_degradation", True):
            return
        if "dataroot_lq" in section:
            raise ValueError(
                f"high_order_degradation: must be false to train on the pairs that "
                f"{section.get('type')} reads"
            )
        crop = section.get("crop_size")
        if isinstance(crop, int) and crop < side:
            raise ValueError(f"gt_size: must be at most crop_size {crop}, got {side}")
        try:
            degradation = degradation_of(opt)
        except ValueError as error:
            raise ValueError(f"{_place(opt, str(error))}{error}") from error
        if degradation.factor != scale:
            raise ValueError(
                f"degradation: must shrink by scale {scale}, but shrinks by {degradation.factor}"
            )

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets the learning rates of an iteration; the next batch is that of this iteration."""
        self.iteration = current_iter
        super().update_learning_rate(current_iter, warmup_iter)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Takes a batch: pairs, or true pictures to be degraded.

        Args:
            data: ``gt``, ``(B, C, H, W)`` in [0, 1], and ``lq`` or ``degradation_seed``.
        """
        if self.degradation is None or "lq" in data:
            super().feed_data(data)
            return
        with torch.no_grad():
            lq, gt = self._degrade(self.degradation, data)
            self.lq, self.gt = self.pool.exchange(lq, gt, self.iteration)
        self.iteration += 1

    def source(self, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the pictures to degrade, and the truth that belongs to them."""
        return gt, gt

    def _degrade(self, degradation: Degradation, data: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        gt = data["gt"].to(self.device)
        generators = [np.random.default_rng(seed) for seed in self._seeds(data, len(gt))]
        draws = [degradation.draw(rng) for rng in generators]
        pictures, gt = self.source(gt)
        lq = degradation.apply_batch(pictures, draws)
        lq = (lq * 255).round().clamp(0, 255) / 255  # as a file of 8 bits holds it
        gt_size = self.stages.at(self.iteration).gt_size or self.gt_size or gt.shape[-1]
        side = int(gt_size) // self.scale
        height, width = lq.shape[-2:]
        if min(height, width) < side:
            raise ValueError(f"gt_size: {gt_size} is more than the pictures of the batch have")
        corners = [
            (int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)))
            for rng in generators
        ]
        self.drawn = [
            {"degradation": draw, "corner": list(corner)}
            for draw, corner in zip(draws, corners, strict=True)
        ]
        return _crops(lq, corners, side, 1), _crops(gt, corners, side, self.scale)

    def _seeds(self, data: Mapping[str, Any], count: int) -> list[Any]:
        if "degradation_seed" in data:
            return [int(seed) for seed in data["degradation_seed"]]
        return [(self.seed, self.opt["rank"], self.iteration, place) for place in range(count)]

    def extra_training_state(self) -> dict[str, Any]:
        """Entries of the training state in addition to BasicSR's: the pool, of a single process."""
        state = super().extra_training_state()
        if self.degradation is not None and self.opt["world_size"] == 1:
            state["pool"] = self.pool.state()
        return state

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Restores what a training state holds; says so if the pool begins empty."""
        super().resume_training(resume_state)
        if self.degradation is None or not self.pool.size:
            return
        if self.opt["world_size"] == 1 and "pool" in resume_state:
            self.pool.load_state(resume_state["pool"], self.device)
            return
        get_root_logger().warning(
            "The pool of training pairs begins empty: a state holds that of a single process."
        )


def degradation_of(opt: Mapping[str, Any]) -> Degradation:
    """The degradation that the options of a run describe.

    Raises:
        ValueError: an argument is wrong; begins with its key.
    """
    sections = as_list(opt.get("degradation")) or [
        second_order_section(opt, opt["datasets"]["train"])
    ]
    parts = [build_degradation(section, int(opt["scale"])) for section in sections]
    return parts[0] if len(parts) == 1 else Chain(parts)


def _place(opt: Mapping[str, Any], problem: str) -> str:
    """Where the key stands with which an error about the degradation begins."""
    if opt.get("degradation") is not None:
        return "degradation."
    return "datasets.train." if problem.partition(":")[0] in opt["datasets"]["train"] else ""


def gt_size_of(opt: Mapping[str, Any]) -> int | None:
    """The side of the crops: at the top, as Real-ESRGAN's files have it, or in the dataset.

    Where the dataset has ``gt_sizes``, it is the largest of them.
    """
    section = opt["datasets"]["train"]
    sizes = section.get("gt_sizes")
    side = max(sizes) if sizes else opt.get("gt_size") or section.get("gt_size")
    return None if side is None else int(side)


def sharpened(gt: Tensor) -> Tensor:
    """Truths after Real-ESRGAN's sharpening."""
    with torch.no_grad():
        return sharpen_by_usm(gt)


def _crops(pictures: Tensor, corners: list[tuple[int, int]], side: int, scale: int) -> Tensor:
    return torch.stack(
        [
            picture[
                :,
                top * scale : (top + side) * scale,
                left * scale : (left + side) * scale,
            ]
            for picture, (top, left) in zip(pictures, corners, strict=True)
        ]
    )
