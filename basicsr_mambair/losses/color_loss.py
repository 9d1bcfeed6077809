"""Distance of blurred chroma, for colors that do not drift."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.losses.picture_loss import LossError, PictureLoss, Reduction
from basicsr_mambair.registering import registers_in

# Rows Cb and Cr of ITU-R BT.601: 0.5 (B − Y) / (1 − 0.114) and 0.5 (R − Y) / (1 − 0.299).
_CHROMA = (
    (-0.299 / 1.772, -0.587 / 1.772, 0.5),
    (0.5, -0.587 / 1.402, -0.114 / 1.402),
)


@registers_in(LOSS_REGISTRY)
class ColorLoss(PictureLoss):
    """L1 of the chroma planes after a Gaussian blur.

    ``mean |G_σ * (C(x) − C(y))|`` with C the planes Cb and Cr of BT.601. The blur leaves out
    texture, so that the loss watches colors alone and does not disturb adversarial training. It
    follows the color loss of DPED (Ignatov et al., ICCV 2017, arXiv 1704.02470, eq. 1), which is
    the squared error of blurred RGB; chroma instead of RGB leaves brightness to other losses.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over pixels and the two planes.
        sigma: σ of the blur, in pixels; the kernel reaches 3 σ, edges are repeated.

    Raises:
        LossError: unknown reduction, or σ that is not above 0; in ``forward``: not 3 channels.
    """

    channels = 3

    def __init__(
        self, loss_weight: float = 1.0, reduction: Reduction = "mean", sigma: float = 3.0
    ) -> None:
        super().__init__(loss_weight, reduction)
        if not sigma > 0:
            raise LossError(f"sigma: must be above 0, got {sigma}")
        self.radius = math.ceil(3 * sigma)
        offsets = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        self.register_buffer("kernel", (kernel / kernel.sum()).float(), persistent=False)

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns distances ``(B, 2, H, W)``."""
        difference = pred - target
        chroma = torch.einsum("kc,bchw->bkhw", difference.new_tensor(_CHROMA), difference)
        kernel = self.get_buffer("kernel").to(difference)
        padded = F.pad(chroma, [self.radius] * 4, mode="replicate")
        planes = padded.flatten(0, 1)[:, None]
        planes = F.conv2d(F.conv2d(planes, kernel[None, None, None]), kernel[None, None, :, None])
        return planes.view_as(chroma).abs()
