"""LPIPS as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.classifiers import LPIPS_CLASSIFIERS, lpips_network, require_lpips
from basicsr_mambair.losses.picture_loss import LossError, PictureLoss, Reduction
from basicsr_mambair.registering import registers_in


@registers_in(LOSS_REGISTRY)
class LPIPSLoss(PictureLoss):
    """LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924), version 0.1, by torchmetrics.

    ``Σ_l mean w_l · (φ_l(x) − φ_l(y))²`` with the features φ_l of a classifier, normalized to unit
    length at each pixel, and the learned factors w_l. The variant is that of the published
    metric; ``calculate_lpips`` measures the same.

    The classifier's file is the user's, and is looked for where torchvision keeps it.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over pictures.
        net: classifier: ``"vgg"``, which the authors recommend for training, ``"alex"`` or
            ``"squeeze"``.

    Raises:
        LossError: unknown reduction or classifier; in ``forward``: not 3 channels, or less than
            32 × 32 pixels.
        PerceptualUnavailableError: torchmetrics or the file is missing.
    """

    channels = 3
    minimum_size = 32

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: Reduction = "mean",
        net: Literal["alex", "vgg", "squeeze"] = "vgg",
    ) -> None:
        super().__init__(loss_weight, reduction)
        if net not in LPIPS_CLASSIFIERS:
            raise LossError(f"net: must be one of {', '.join(LPIPS_CLASSIFIERS)}, got {net!r}")
        self.net = lpips_network(net, "LPIPSLoss")

    @staticmethod
    def check_available(section: Mapping[str, Any]) -> None:
        """Raises :class:`PerceptualUnavailableError` if a package or file is missing."""
        require_lpips(str(section.get("net", "vgg")), "LPIPSLoss")

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns LPIPS of every picture, ``(B,)``."""
        distance: Tensor = self.net(2 * pred - 1, 2 * target - 1)
        return distance.flatten()
