"""1 − MS-SSIM: structural similarity at several scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.losses.picture_loss import LossError, PictureLoss, Reduction
from basicsr_mambair.registering import registers_in

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the paper, from fine to coarse
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2  # for pictures in [0, 1]
_LEAST = 1e-6  # a root of less has a gradient without bounds


@registers_in(LOSS_REGISTRY)
class MSSSIMLoss(PictureLoss):
    """1 − MS-SSIM (Wang, Simoncelli & Bovik, Asilomar 2003, eq. 7).

    ``1 − l_M^{α_M} Π_j cs_j^{β_j}``: contrast and structure cs at every scale, luminance l at the
    coarsest, in Gaussian windows of 11 × 11 pixels (σ 1.5) inside the picture, as means over pixels
    and channels; scales are halved by means of 2 × 2 pixels. A negative mean of cs counts as 1e-6.

    Five scales need crops of 176 × 176 pixels. Where fewer fit (4 from 88 pixels, 3 from 44, 2 from
    22, 1 from 11), the finest are taken, and their exponents are scaled to a sum of 1; one scale is
    SSIM. Zhao et al. (IEEE Trans. Computational Imaging 2017, arXiv 1511.08861) train with
    0.84 times this loss and 0.16 times a Gaussian-weighted L1.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over pictures.
        scales: number of scales, from 1 to 5; ``None``: as many as fit, at most 5.

    Raises:
        LossError: unknown reduction or number of scales; in ``forward``: less than 11 × 11 pixels,
            or too few for ``scales``.
    """

    minimum_size = _WINDOW

    def __init__(
        self, loss_weight: float = 1.0, reduction: Reduction = "mean", scales: int | None = None
    ) -> None:
        super().__init__(loss_weight, reduction)
        if scales is not None and not 1 <= scales <= len(_EXPONENTS):
            raise LossError(f"scales: must be from 1 to {len(_EXPONENTS)}, got {scales}")
        self.scales = scales
        offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
        window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
        self.register_buffer("window", (window / window.sum()).float(), persistent=False)

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns 1 − MS-SSIM of every picture, ``(B,)``."""
        scales = self._scales_for(min(pred.shape[-2:]))
        exponents = torch.tensor(_EXPONENTS[:scales], dtype=pred.dtype, device=pred.device)
        similarity = torch.ones_like(pred[:, 0, 0, 0])
        for scale, exponent in enumerate(exponents / exponents.sum()):
            luminance, structure = self._compare(pred, target)
            coarsest = scale == scales - 1
            term = (luminance * structure if coarsest else structure).mean(dim=(1, 2, 3))
            similarity = similarity * term.clamp(min=_LEAST) ** exponent
            if not coarsest:
                pred, target = F.avg_pool2d(pred, 2), F.avg_pool2d(target, 2)
        return 1 - similarity

    def _compare(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Returns luminance, and contrast times structure, of every window."""
        mean_x, mean_y = self._windowed(x), self._windowed(y)
        variances = self._windowed(x * x) + self._windowed(y * y) - mean_x**2 - mean_y**2
        covariance = self._windowed(x * y) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        return luminance, (2 * covariance + _C2) / (variances + _C2)

    def _windowed(self, x: Tensor) -> Tensor:
        """Returns means in the windows: ``(B, C, H − 10, W − 10)``."""
        window = self.get_buffer("window").to(x)
        planes = x.flatten(0, 1)[:, None]
        planes = F.conv2d(F.conv2d(planes, window[None, None, None]), window[None, None, :, None])
        return planes.view(*x.shape[:2], *planes.shape[-2:])

    def _scales_for(self, side: int) -> int:
        fitting = 1
        while fitting < len(_EXPONENTS) and side >> fitting >= _WINDOW:
            fitting += 1
        if self.scales is not None and self.scales > fitting:
            raise LossError(
                f"MSSSIMLoss: {self.scales} scales need {_WINDOW << (self.scales - 1)} pixels a "
                f"side, but {side} have room for {fitting}"
            )
        return self.scales or fitting
