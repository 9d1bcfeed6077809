"""The relativistic average GAN loss, of generator and discriminator."""

from __future__ import annotations

from typing import Literal

import torch
from basicsr.losses.gan_loss import GANLoss
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from basicsr_mambair.losses.picture_loss import LossError
from basicsr_mambair.registering import registers_in

Logits = Tensor | list[Tensor]


@registers_in(LOSS_REGISTRY)
class RelativisticGANLoss(nn.Module):
    """Relativistic average GAN (Jolicoeur-Martineau 2018, arXiv 1807.00734), as in ESRGAN.

    The discriminator C judges how much more real than the mean of the others a picture is::

        D_r = C(real) − mean C(fake)        D_f = C(fake) − mean C(real)
        discriminator:  (f(D_r, real) + f(D_f, fake)) / 2
        generator:      (f(D_r, fake) + f(D_f, real)) / 2 · loss_weight

    f is BasicSR's ``GANLoss``: cross entropy (``vanilla``, as in ESRGAN, arXiv 1809.00219), square
    (``lsgan``), or hinge. Wasserstein losses do not change by it, so they are not offered. Means
    are those of the process's own batch.

    Args:
        gan_type: ``"vanilla"``, ``"lsgan"`` or ``"hinge"``.
        real_label_val: value of the label of real pictures.
        fake_label_val: value of the label of fake pictures.
        loss_weight: factor of the generator's loss.

    Raises:
        LossError: unknown ``gan_type``.
    """

    def __init__(
        self,
        gan_type: Literal["vanilla", "lsgan", "hinge"] = "vanilla",
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if gan_type not in ("vanilla", "lsgan", "hinge"):
            raise LossError(f"gan_type: must be 'vanilla', 'lsgan' or 'hinge', got {gan_type!r}")
        self.loss_weight = loss_weight
        self.gan = GANLoss(gan_type, real_label_val, fake_label_val)

    def generator(self, fake: Logits, real: Logits) -> Tensor:
        """Returns the loss of the generator, weighted.

        Args:
            fake: what the discriminator says of restored pictures: any shape, or a list of them
                (several scales, whose losses are averaged).
            real: what it says of true pictures; no gradient flows into it.
        """
        real = [each.detach() for each in _listed(real)]
        return self.loss_weight * self._mean(fake, real, fake_is_real=True)

    def discriminator(self, fake: Logits, real: Logits) -> Tensor:
        """Returns the loss of the discriminator.

        Args:
            fake: what it says of restored pictures that are detached from the generator; shape as
                in :meth:`generator`.
            real: what it says of true pictures.
        """
        return self._mean(fake, real, fake_is_real=False)

    def forward(self, fake: Logits, real: Logits, is_disc: bool = False) -> Tensor:
        """Returns the loss of the discriminator if ``is_disc``, else that of the generator."""
        return self.discriminator(fake, real) if is_disc else self.generator(fake, real)

    def _mean(self, fake: Logits, real: Logits, fake_is_real: bool) -> Tensor:
        losses = [
            self._relative(f, r, fake_is_real)
            for f, r in zip(_listed(fake), _listed(real), strict=True)
        ]
        return torch.stack(losses).mean()

    def _relative(self, fake: Tensor, real: Tensor, fake_is_real: bool) -> Tensor:
        # With is_disc, the hinge has its margin for both labels; other types ignore it.
        of_fake: Tensor = self.gan(fake - real.mean(), fake_is_real, is_disc=True)
        of_real: Tensor = self.gan(real - fake.mean(), not fake_is_real, is_disc=True)
        return (of_fake + of_real) / 2


def _listed(logits: Logits) -> list[Tensor]:
    return logits if isinstance(logits, list) else [logits]
