"""Real-ESRGAN's two models (Wang et al. 2021, arXiv 2107.10833), on the models of this package."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from basicsr_mambair.models.degrading import DegradesBatches, DegradingTop, sharpened
from basicsr_mambair.models.gan_model import RestorationGANModel
from basicsr_mambair.models.options import RESTORATION, RESTORATION_GAN
from basicsr_mambair.options.fields import option
from basicsr_mambair.registering import SUFFIX, registers_in


@dataclass
class RealNetTop(DegradingTop):  # type: ignore[misc]  # made of two stages at run time
    """Top of `RealESRNetModel`."""

    gt_usm: bool = option(True, doc="Sharpen the true pictures, before they are degraded.")


@dataclass
class RealGANTop(DegradingTop):  # type: ignore[misc]  # made of two stages at run time
    """Top of `RealESRGANModel`."""

    l1_gt_usm: bool = option(True, doc="Sharpen the truth of the pixel loss.")
    percep_gt_usm: bool = option(True, doc="Sharpen the truth of the perceptual loss.")
    gan_gt_usm: bool = option(False, doc="Sharpen the truth that the discriminator sees.")


# By the part of the loss that sees the truth: the key that says whether it is sharpened.
_SHARPENED = {"pixel": "l1_gt_usm", "perceptual": "percep_gt_usm", "gan": "gan_gt_usm"}


@registers_in(MODEL_REGISTRY, SUFFIX)
class RealESRNetModel(DegradesBatches):
    """The first stage: pixels alone, on pictures that are degraded on the fly.

    :class:`RestorationModel` and :class:`DegradesBatches`. With ``gt_usm`` the true pictures are
    sharpened first, so that both the input and the truth are made of sharp pictures.

    Args:
        opt: the options of a run.
    """

    OPTIONS = dataclasses.replace(RESTORATION, top=RealNetTop)

    def source(self, gt: Tensor) -> tuple[Tensor, Tensor]:
        if self.opt.get("gt_usm", RealNetTop.gt_usm):
            gt = sharpened(gt)
        return gt, gt


@registers_in(MODEL_REGISTRY, SUFFIX)
class RealESRGANModel(DegradesBatches, RestorationGANModel):
    """The second stage: against a discriminator, on pictures that are degraded on the fly.

    :class:`RestorationGANModel` and :class:`DegradesBatches`. Inputs are made of sharpened pictures
    if the degradation is Real-ESRGAN's (no ``degradation`` in the file); ``l1_gt_usm``,
    ``percep_gt_usm`` and ``gan_gt_usm`` say which losses see sharpened truths.

    Args:
        opt: the options of a run.
    """

    OPTIONS = dataclasses.replace(RESTORATION_GAN, top=RealGANTop)

    def source(self, gt: Tensor) -> tuple[Tensor, Tensor]:
        own = self.opt.get("degradation") is not None
        return (gt if own else sharpened(gt)), gt

    def truths(self, gt: Tensor) -> dict[str, Tensor]:
        chosen = [
            section
            for section, key in _SHARPENED.items()
            if self.opt.get(key, getattr(RealGANTop, key))
        ]
        if not chosen:
            return {}
        sharp = sharpened(gt)
        return dict.fromkeys(chosen, sharp)
