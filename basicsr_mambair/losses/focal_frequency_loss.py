"""Focal frequency loss: the frequencies that are restored worst count most."""

from __future__ import annotations

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from einops import rearrange
from torch import Tensor

from basicsr_mambair.losses.picture_loss import LossError, PictureLoss, Reduction
from basicsr_mambair.registering import registers_in


@registers_in(LOSS_REGISTRY)
class FocalFrequencyLoss(PictureLoss):
    """Focal frequency loss (Jiang et al., ICCV 2021, arXiv 2012.12821).

    ``mean w |F(x) − F(y)|²`` over the frequencies of the orthonormal 2-D Fourier transform, with
    ``w = |F(x) − F(y)|^α`` divided by its maximum in the spectrum of each channel. Gradients do not
    flow through w.

    The variants of the authors' code that average spectra over the batch, or take the logarithm of
    w, are not offered; its cutting into patches is ``patch_factor``.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over frequencies.
        alpha: exponent α; 0 weights all frequencies alike, which is the mean squared error.
        patch_factor: n, for the transforms of n × n parts of the picture.

    Raises:
        LossError: unknown reduction, or an argument out of range; in ``forward``: sides that
            ``patch_factor`` does not divide.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: Reduction = "mean",
        alpha: float = 1.0,
        patch_factor: int = 1,
    ) -> None:
        super().__init__(loss_weight, reduction)
        if alpha < 0:
            raise LossError(f"alpha: must be at least 0, got {alpha}")
        if patch_factor < 1:
            raise LossError(f"patch_factor: must be at least 1, got {patch_factor}")
        self.alpha = alpha
        self.patch_factor = patch_factor

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns squared distances ``(B, C, n, n, H / n, W / n)`` of frequencies."""
        spectrum = torch.view_as_real(self._spectra(pred - target))
        squared: Tensor = spectrum.square().sum(dim=-1)
        return squared

    def weights(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns w, in [0, 1], of the shape of the distance."""
        weights = self.distance(pred, target) ** (self.alpha / 2)
        largest = weights.amax(dim=(-2, -1), keepdim=True)
        return torch.where(largest > 0, weights / largest.where(largest > 0, 1), 0)

    def _spectra(self, difference: Tensor) -> Tensor:
        n, (height, width) = self.patch_factor, difference.shape[-2:]
        if height % n or width % n:
            raise LossError(
                f"FocalFrequencyLoss: patch_factor {n} does not divide pictures of "
                f"{height}×{width} pixels"
            )
        parts = rearrange(difference, "b c (n h) (m w) -> b c n m h w", n=n, m=n)
        spectra: Tensor = torch.fft.fft2(parts, norm="ortho")
        return spectra
