"""L1 distance of Fourier coefficients."""

from __future__ import annotations

from typing import Literal

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.losses.picture_loss import LossError, PictureLoss, Reduction
from basicsr_mambair.registering import registers_in


@registers_in(LOSS_REGISTRY)
class FFTLoss(PictureLoss):
    """L1 of discrete Fourier transforms, the frequency term of MIMO-UNet.

    ``mean |Re F(x) − Re F(y)|, |Im F(x) − Im F(y)|`` over the half spectrum of ``rfft2``, for
    every channel (Cho et al., ICCV 2021, arXiv 2108.05054, who weight it by 0.1; SAFMN, ICCV 2023,
    by 0.05). The variant takes L1 of real and imaginary parts, not of the modulus.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over coefficients.
        norm: that of ``torch.fft.rfft2``. With ``"backward"``, as in the paper, coefficients grow
            with the side of the crop; with ``"ortho"`` they do not.

    Raises:
        LossError: unknown reduction or norm.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: Reduction = "mean",
        norm: Literal["backward", "ortho", "forward"] = "backward",
    ) -> None:
        super().__init__(loss_weight, reduction)
        if norm not in ("backward", "ortho", "forward"):
            raise LossError(f"norm: must be 'backward', 'ortho' or 'forward', got {norm!r}")
        self.norm = norm

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns distances ``(B, C, H, W // 2 + 1, 2)``, of real and imaginary parts."""
        return torch.view_as_real(torch.fft.rfft2(pred - target, norm=self.norm)).abs()
