"""DISTS as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.classifiers import dists_network, require_dists
from basicsr_mambair.losses.picture_loss import PictureLoss, Reduction
from basicsr_mambair.registering import registers_in


@registers_in(LOSS_REGISTRY)
class DISTSLoss(PictureLoss):
    """DISTS (Ding et al., IEEE TPAMI 2020, arXiv 2004.07728), by torchmetrics.

    ``1 − Σ_l (α_l l(φ_l(x), φ_l(y)) + β_l s(φ_l(x), φ_l(y)))``: l compares the means (texture) and
    s the covariance (structure) of the features φ_l of VGG16, whose pooling is a blur, and of the
    picture itself; α and β are learned. ``calculate_dists`` measures the same.

    The file of VGG16 is the user's, and is looked for where torchvision keeps it.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over pictures.

    Raises:
        LossError: unknown reduction; in ``forward``: not 3 channels, or less than 32 × 32 pixels.
        PerceptualUnavailableError: torchmetrics or the file is missing.
    """

    channels = 3
    minimum_size = 32

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(loss_weight, reduction)
        self.net = dists_network("DISTSLoss")

    @staticmethod
    def check_available(section: Mapping[str, Any]) -> None:
        """Raises :class:`PerceptualUnavailableError` if a package or file is missing."""
        require_dists("DISTSLoss")

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns DISTS of every picture, ``(B,)``."""
        distance: Tensor = self.net(pred, target, require_grad=True)
        return distance.reshape(-1)
