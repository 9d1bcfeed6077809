"""The adversarial loss of a GAN model, whatever its kind: of single judgments, or of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import basicsr  # noqa: F401  (activates the plugin before anything here is used)
import torch
from basicsr.losses import build_loss
from torch import Tensor, nn

Judgment = Any  # a tensor of logits, or a list of them (of several scales)


class AdversarialLoss(nn.Module):
    """Asks the loss of ``gan_opt`` what generator and discriminator have to lose.

    BasicSR's ``GANLoss`` and its kind judge a picture by itself: ``loss(judgment, is_real,
    is_disc)``. A relativistic loss compares judgments of restored and true pictures, by its methods
    ``generator(fake, real)`` and ``discriminator(fake, real)``.

    Args:
        section: the section ``gan_opt``.
    """

    def __init__(self, section: Mapping[str, Any]) -> None:
        super().__init__()
        self.loss = build_loss(dict(section))
        self.is_relativistic = hasattr(self.loss, "discriminator")

    def generator(
        self, judge: Callable[[Tensor], Judgment], restored: Tensor, truth: Tensor
    ) -> Tensor:
        """Returns the weighted loss of the generator.

        Args:
            judge: the discriminator.
            restored: output of the generator, ``(B, C, H, W)``; gradients flow into it.
            truth: true pictures, ``(B, C, H, W)``.
        """
        if not self.is_relativistic:
            single: Tensor = self.loss(judge(restored), True, is_disc=False)
            return single
        with torch.no_grad():
            real = judge(truth)
        relative: Tensor = self.loss.generator(judge(restored), real)
        return relative

    def discriminator(
        self, judge: Callable[[Tensor], Judgment], restored: Tensor, truth: Tensor
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yields losses of the discriminator, which are added, with what the log shows of each.

        The next one is computed when it is asked for: backpropagating one before it halves the
        memory, unless a relativistic loss needs both judgments at once.

        Args:
            judge: the discriminator.
            restored: output of the generator, detached, ``(B, C, H, W)``.
            truth: true pictures, ``(B, C, H, W)``.

        Yields:
            A loss; and scalars named as in BasicSR's log: ``l_d_real``, ``out_d_real`` (the mean
            judgment), ``l_d_fake``, ``out_d_fake``; ``l_d`` of a relativistic loss.
        """
        if self.is_relativistic:
            fake, real = judge(restored), judge(truth)
            loss = self.loss.discriminator(fake, real)
            yield loss, {"l_d": loss, "out_d_real": _mean(real), "out_d_fake": _mean(fake)}
            return
        for name, pictures, is_real in (("real", truth, True), ("fake", restored, False)):
            judgment = judge(pictures)
            loss = self.loss(judgment, is_real, is_disc=True)
            yield loss, {f"l_d_{name}": loss, f"out_d_{name}": _mean(judgment)}


def to_float(judgment: Judgment) -> Judgment:
    """Converts a judgment to float32, in which losses are computed."""
    if isinstance(judgment, (list, tuple)):
        return [to_float(each) for each in judgment]
    return judgment.float()


def _mean(judgment: Judgment) -> Tensor:
    if isinstance(judgment, (list, tuple)):
        return torch.stack([_mean(each) for each in judgment]).mean()
    mean: Tensor = judgment.detach().mean()
    return mean
