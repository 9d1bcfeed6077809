"""Repair of the choice of optimizers."""

from __future__ import annotations

from typing import Any

import torch

from basicsr_mambair.repairs.repair import repair, replace, source_has
from mambair.signatures import did_you_mean


@repair("Adam is the only optimizer", thread="basicsr/models/base_model.py, get_optimizer")
def every_optimizer() -> bool:
    """Takes any optimizer of ``torch.optim`` by its name."""
    from basicsr.models.base_model import BaseModel

    if not source_has(BaseModel.get_optimizer, "is not supperted yet"):
        return False

    def get_optimizer(
        self: Any, optim_type: str, params: Any, **kwargs: Any
    ) -> torch.optim.Optimizer:
        return optimizer_class(optim_type)(params, **kwargs)

    replace(BaseModel, "get_optimizer", get_optimizer)
    return True


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of ``torch.optim`` with that name.

    Not LBFGS and SparseAdam: one needs a closure, the other sparse gradients.

    Raises:
        ValueError: there is none; names the nearest.
    """
    classes = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value not in (torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.SparseAdam)
    }
    if name not in classes:
        raise ValueError(f"torch.optim has no optimizer {name!r}{did_you_mean(name, classes)}")
    return classes[name]
