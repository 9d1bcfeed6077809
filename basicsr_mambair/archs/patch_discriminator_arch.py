"""PatchGAN: a discriminator that judges every part of a picture by itself."""

from __future__ import annotations

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from basicsr_mambair.registering import registers_in


@registers_in(ARCH_REGISTRY)
class PatchDiscriminatorSN(nn.Module):
    """PatchGAN (Isola et al., CVPR 2017, arXiv 1611.07004) with spectral normalization.

    ``num_layers`` convolutions of 4 × 4 with stride 2 and two with stride 1: each output sees 70 ×
    70 pixels with the default of 3, 34 × 34 with 2, 16 × 16 with 1. Spectral normalization (Miyato
    et al., ICLR 2018, arXiv 1802.05957) of every convolution takes the place of batch
    normalization, so that pictures do not depend on others of their batch.

    Args:
        num_in_ch: channels of the pictures.
        num_feat: channels of the first convolution; they double with each, up to 8 times as many.
        num_layers: convolutions of stride 2.

    Raises:
        ValueError: an argument is not above 0.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, num_layers: int = 3) -> None:
        super().__init__()
        for name, value in (
            ("num_in_ch", num_in_ch), ("num_feat", num_feat), ("num_layers", num_layers),
        ):  # fmt: skip
            if value < 1:
                raise ValueError(f"{name}: must be above 0, got {value}")
        layers: list[nn.Module] = []
        inner = num_in_ch
        for index in range(num_layers + 1):
            outer = num_feat * 2 ** min(index, 3)
            stride = 2 if index < num_layers else 1
            layers += [
                spectral_norm(nn.Conv2d(inner, outer, 4, stride, 1)),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            inner = outer
        layers.append(spectral_norm(nn.Conv2d(inner, 1, 4, 1, 1)))
        self.layers = nn.Sequential(*layers)
        self.minimum_size = 3 * 2**num_layers

    def forward(self, x: Tensor) -> Tensor:
        """Judges pictures.

        Args:
            x: ``(B, C, H, W)`` in [0, 1].

        Returns:
            Logits ``(B, 1, H / 2ⁿ − 2, W / 2ⁿ − 2)``, with n = ``num_layers``; above 0 is real.

        Raises:
            ValueError: the pictures are too small for an output.
        """
        height, width = x.shape[-2:]
        if min(height, width) < self.minimum_size:
            raise ValueError(
                f"PatchDiscriminatorSN needs at least {self.minimum_size}×{self.minimum_size} "
                f"pixels, got {height}×{width}; fewer num_layers need less"
            )
        logits: Tensor = self.layers(x)
        return logits
