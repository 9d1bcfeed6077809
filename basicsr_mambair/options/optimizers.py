"""The optimizers of ``torch.optim`` by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mambair.signatures import did_you_mean

if TYPE_CHECKING:
    import torch


def optimizer_classes() -> dict[str, type[torch.optim.Optimizer]]:
    """The classes that BasicSR's loop can drive.

    LBFGS and SparseAdam are excluded: one needs a closure, the other sparse gradients.
    """
    import torch

    left_out = (torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.SparseAdam)
    return {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value not in left_out
    }


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of ``torch.optim`` with that name; ``ValueError`` names the nearest."""
    classes = optimizer_classes()
    if name not in classes:
        raise ValueError(f"torch.optim has no optimizer {name!r}{did_you_mean(str(name), classes)}")
    return classes[name]
