"""L1 distance of gradients, for sharp edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.losses.picture_loss import PictureLoss, Reduction
from basicsr_mambair.registering import registers_in


@registers_in(LOSS_REGISTRY)
class GradientLoss(PictureLoss):
    """L1 of horizontal and vertical Sobel derivatives.

    ``mean |S_x * x − S_x * y|, |S_y * x − S_y * y|`` over channels and inner pixels. Sobel's 3 × 3
    operators (Sobel & Feldman, 1968) are divided by 8, so that a ramp that rises by a per pixel has
    the derivative a. Comparing the derivatives, rather than their magnitudes as SPSR does (Ma et
    al., CVPR 2020), also penalizes an edge of the wrong direction.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over derivatives.

    Raises:
        LossError: unknown reduction; in ``forward``: less than 3 × 3 pixels.
    """

    minimum_size = 3

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(loss_weight, reduction)
        along = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        self.register_buffer("kernels", torch.stack([along, along.T])[:, None], persistent=False)

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns distances ``(B, C, 2, H − 2, W − 2)`` of derivatives along x and y."""
        difference = pred - target
        kernels = self.get_buffer("kernels").to(difference)
        derivatives = F.conv2d(difference.flatten(0, 1)[:, None], kernels)
        return derivatives.view(*difference.shape[:2], *derivatives.shape[1:]).abs()
