"""LDL: penalizes what looks like an artifact of adversarial training."""

from __future__ import annotations

import torch
from basicsr.losses.loss_util import get_refined_artifact_map
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.losses.picture_loss import LossError, ReducedLoss, Reduction
from basicsr_mambair.registering import registers_in


@registers_in(LOSS_REGISTRY)
class LDLLoss(ReducedLoss):
    """Locally discriminative learning (Liang, Zeng & Zhang, CVPR 2022, arXiv 2203.09195).

    ``mean M |x − y|`` with the map of artifacts M, by BasicSR's function: the variance of the
    residual |x − y| around each pixel, times the fifth root of that of the picture, and 0 where the
    output x̄ of the averaged weights is further from the truth than x.

    Gradients do not flow through M, which is infinitely steep where x = y. BasicSR's
    RealESRGANModel differentiates M, too.

    A GAN model computes it from the section ``ldl_opt``, because it needs the averaged weights.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over pixels and channels.
        ksize: side of the neighborhood, odd.

    Raises:
        LossError: unknown reduction, or a ``ksize`` that is even or below 3; in ``forward``: shapes
            differ, or pictures smaller than the neighborhood.
    """

    def __init__(
        self, loss_weight: float = 1.0, reduction: Reduction = "mean", ksize: int = 7
    ) -> None:
        super().__init__(loss_weight, reduction)
        if ksize < 3 or ksize % 2 == 0:
            raise LossError(f"ksize: must be odd and at least 3, got {ksize}")
        self.ksize = ksize
        self.minimum_size = ksize

    def forward(self, output: Tensor, gt: Tensor, output_ema: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            output: output of the network, ``(B, C, H, W)`` in [0, 1].
            gt: ground truth, ``(B, C, H, W)`` in [0, 1].
            output_ema: output of the averaged weights for the same input, ``(B, C, H, W)``.
        """
        self.check_shapes(output, gt, output_ema)
        return self.reduced((output - gt).abs(), self.artifacts(output, gt, output_ema))

    @torch.no_grad()
    def artifacts(self, output: Tensor, gt: Tensor, output_ema: Tensor) -> Tensor:
        """Returns the map M, ``(B, 1, H, W)``; arguments are those of :meth:`forward`."""
        weights: Tensor = get_refined_artifact_map(gt, output, output_ema, self.ksize)
        return weights
