"""Mixup and CutBlur: augmentations that combine the pictures of a training batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr_mambair.options.fields import option


@dataclass
class MixupOptions:
    """`train.mixup`."""

    probability: float = option(0.5, doc="Share of the batches that are mixed.", ge=0, le=1)
    beta: float = option(
        1.2, doc="Both parameters of the Beta distribution of the weight.", gt=0, le=1000
    )


@dataclass
class MixingOptions:
    """`train.mixing_augs`."""

    mixup: bool = option(True, doc="Mix pictures of a batch.")
    mixup_beta: float = option(
        1.2, doc="Both parameters of the Beta distribution of the weight.", gt=0, le=1000
    )
    use_identity: bool = option(True, doc="Leave half of the batches as they are.")

    def as_mixup(self) -> MixupOptions | None:
        """The same as `train.mixup`."""
        if not self.mixup:
            return None
        return MixupOptions(0.5 if self.use_identity else 1.0, self.mixup_beta)


@dataclass
class CutBlurOptions:
    """`train.cutblur`."""

    probability: float = option(0.5, doc="Share of the batches that are cut.", ge=0, le=1)
    ratio: float = option(
        0.7, doc="Mean side of the rectangle, as a part of the crop's.", gt=0, lt=1
    )


_SPREAD = 0.01  # standard deviation of the ratio, as in the paper's code


class BatchAugmentation:
    """Applies ``train.mixup`` (or ``mixing_augs``) and ``train.cutblur``, in this order.

    What is drawn depends on seed, process and iteration alone, so a run that is resumed continues
    as if it had not been stopped.

    Args:
        train: the section ``train`` of the options.
        seed: seed of the run.
        rank: number of this process.
    """

    def __init__(self, train: Mapping[str, Any], seed: int = 0, rank: int = 0) -> None:
        self.mixup = _options(MixupOptions, train.get("mixup"))
        mixing = _options(MixingOptions, train.get("mixing_augs"))
        if mixing is not None:
            self.mixup = mixing.as_mixup()
        self.cutblur = _options(CutBlurOptions, train.get("cutblur"))
        self.seed, self.rank = seed, rank

    def __call__(self, lq: Tensor, gt: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
        """Returns the augmented batch; the given tensors stay as they are.

        Args:
            lq: input of the network, ``(B, C, h, w)`` in [0, 1].
            gt: ground truth, ``(B, C, H, W)`` in [0, 1].
            iteration: number of the step.
        """
        if self.mixup is None and self.cutblur is None:
            return lq, gt
        rng = np.random.default_rng((self.seed, self.rank, iteration))
        if self.mixup is not None and rng.random() < self.mixup.probability:
            lq, gt = mixup(lq, gt, self.mixup.beta, rng)
        if self.cutblur is not None and rng.random() < self.cutblur.probability:
            lq = cutblur(lq, gt, self.cutblur.ratio, rng)
        return lq, gt


def mixup(lq: Tensor, gt: Tensor, beta: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., ICLR 2018, arXiv 1710.09412), of inputs and truths alike.

    ``λ x + (1 − λ) x[π]`` with λ ~ Beta(β, β) and a permutation π of the batch, both drawn once a
    batch; β is 1.2 in Yoo et al. (CVPR 2020), who apply it to super-resolution.

    Args:
        lq: input of the network, ``(B, C, h, w)``.
        gt: ground truth, ``(B, C, H, W)``.
        beta: β.
        rng: random generator.
    """
    weight = float(rng.beta(beta, beta))
    order = torch.from_numpy(rng.permutation(lq.shape[0])).to(lq.device)
    return lq.lerp(lq[order], 1 - weight), gt.lerp(gt[order], 1 - weight)


def cutblur(lq: Tensor, gt: Tensor, ratio: float, rng: np.random.Generator) -> Tensor:
    """CutBlur (Yoo et al., CVPR 2020, arXiv 2004.00448): part of the input is the clean picture.

    A rectangle, whose sides are a part r ~ N(``ratio``, 0.01²) of the input's, comes from one of
    input and truth and its surroundings from the other, each with probability ½; the network learns
    where there is nothing to restore. The ground truth does not change.

    The paper's networks take inputs of the size of the output. Here, where the network enlarges,
    the clean picture is the truth shrunk bicubically to the size of the input. So CutBlur has an
    effect where data is also blurred, noisy or compressed, and none where it is only shrunk.

    Args:
        lq: input of the network, ``(B, C, h, w)`` in [0, 1].
        gt: ground truth, ``(B, C, H, W)`` in [0, 1].
        ratio: mean of r.
        rng: random generator.

    Returns:
        The new input, ``(B, C, h, w)``.
    """
    height, width = lq.shape[-2:]
    clean = gt
    if gt.shape[-2:] != lq.shape[-2:]:
        clean = F.interpolate(gt, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
    part = float(np.clip(rng.normal(ratio, _SPREAD), 0, 1))
    rows, columns = int(height * part), int(width * part)
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    around, inside = (lq, clean) if rng.random() < 0.5 else (clean, lq)
    result = around.clone()
    place = (..., slice(top, top + rows), slice(left, left + columns))
    result[place] = inside[place]
    return result


def _options(declaration: Any, section: Mapping[str, Any] | None) -> Any:
    return None if section is None else declaration(**section)
