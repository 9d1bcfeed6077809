"""Discriminators of a picture at several scales."""

from __future__ import annotations

import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from basicsr_mambair.archs.patch_discriminator_arch import PatchDiscriminatorSN
from basicsr_mambair.registering import registers_in


@registers_in(ARCH_REGISTRY)
class MultiScaleDiscriminatorSN(nn.Module):
    """Patch discriminators of a picture and its halves (pix2pixHD, Wang et al., CVPR 2018).

    Each scale has a :class:`PatchDiscriminatorSN` of its own (arXiv 1711.11585, section 3.2); a
    scale is the one before after a mean of 3 × 3 pixels with stride 2. The losses that take its
    output are BasicSR's ``MultiScaleGANLoss`` and ``RelativisticGANLoss``.

    Args:
        num_in_ch: channels of the pictures.
        num_feat: channels of the first convolution of each discriminator.
        num_layers: convolutions of stride 2 of each.
        num_scales: number of scales.

    Raises:
        ValueError: an argument is not above 0.
    """

    def __init__(
        self, num_in_ch: int = 3, num_feat: int = 64, num_layers: int = 3, num_scales: int = 3
    ) -> None:
        super().__init__()
        if num_scales < 1:
            raise ValueError(f"num_scales: must be above 0, got {num_scales}")
        self.scales = nn.ModuleList(
            PatchDiscriminatorSN(num_in_ch, num_feat, num_layers) for _ in range(num_scales)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Judges pictures.

        Args:
            x: ``(B, C, H, W)`` in [0, 1].

        Returns:
            Logits of each scale, the finest first.

        Raises:
            ValueError: the pictures are too small for an output at the last scale.
        """
        logits = []
        for index, discriminator in enumerate(self.scales):
            if index:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            logits.append(discriminator(x))
        return logits
