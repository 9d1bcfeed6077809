"""The bases of losses: weight and reduction, and the comparison of a picture with its truth."""

from __future__ import annotations

from typing import Literal

from basicsr.losses.loss_util import reduce_loss
from torch import Tensor, nn

from mambair.errors import UserError

Reduction = Literal["none", "mean", "sum"]


class LossError(UserError, ValueError):
    """A loss cannot be computed of these pictures, or with these arguments."""


class ReducedLoss(nn.Module):
    """A loss with a weight and a reduction.

    Args:
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``, over the elements of the distance.

    Raises:
        LossError: unknown reduction.
    """

    channels: int | None = None  # the number of channels that a loss needs
    minimum_size = 1  # the least height and width

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        if reduction not in ("none", "mean", "sum"):
            raise LossError(f"reduction: must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.loss_weight = loss_weight
        self.reduction = reduction

    def reduced(self, distance: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns the loss of a distance, perhaps with a weight for each of its elements."""
        weighted = distance if weights is None else weights * distance
        loss: Tensor = self.loss_weight * reduce_loss(weighted, self.reduction)
        return loss

    def check_shapes(self, pred: Tensor, *others: Tensor) -> None:
        """Raises :class:`LossError` if pictures have different shapes or unfit ones."""
        name = type(self).__name__
        for other in others:
            if pred.shape != other.shape:
                shapes = f"{tuple(pred.shape)} and {tuple(other.shape)}"
                raise LossError(f"{name}: the pictures have different shapes: {shapes}")
        if self.channels is not None and pred.shape[1] != self.channels:
            raise LossError(f"{name} needs {self.channels} channels (RGB), got {pred.shape[1]}")
        height, width = pred.shape[-2:]
        if min(height, width) < self.minimum_size:
            raise LossError(
                f"{name} needs at least {self.minimum_size}×{self.minimum_size} pixels, "
                f"got {height}×{width}"
            )


class PictureLoss(ReducedLoss):
    """A distance between two pictures; subclasses define :meth:`distance`."""

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns the distance, before weights and reduction: of each element, or each picture."""
        raise NotImplementedError

    def weights(self, pred: Tensor, target: Tensor) -> Tensor | None:
        """Returns factors of the distance, through which gradients do not flow; ``None``: 1."""
        return None

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            pred: output of the network, ``(B, C, H, W)``; RGB in [0, 1], and a little beyond.
            target: ground truth, ``(B, C, H, W)``; RGB in [0, 1].

        Raises:
            LossError: shapes differ, or the loss needs more channels or pixels.
        """
        self.check_shapes(pred, target)
        return self.reduced(self.distance(pred, target), self.weights(pred.detach(), target))
