"""Optimizers by name: those of ``torch.optim``, and those of other packages by a dotted name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mambair.signatures import did_you_mean

if TYPE_CHECKING:
    import torch


def optimizer_classes() -> dict[str, type[torch.optim.Optimizer]]:
    """The classes of ``torch.optim`` that BasicSR's loop can drive.

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
    """The class that ``type`` of an optimizer's section names.

    Args:
        name: a class of ``torch.optim`` (``AdamW``), or of another package by its dotted name
            (``schedulefree.AdamWScheduleFree``).

    Raises:
        ValueError: there is none; the message says what can be done.
    """
    if isinstance(name, str) and "." in name:
        return _of_package(name)
    classes = optimizer_classes()
    if not isinstance(name, str) or name not in classes:
        hint = did_you_mean(str(name), classes)
        raise ValueError(f"torch.optim has no optimizer {name!r}{hint}")
    return classes[name]


def _of_package(name: str) -> type[torch.optim.Optimizer]:
    import torch

    module, _, attribute = name.rpartition(".")
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{name!r} is not the dotted name of a class (my_package.MyOptimizer)")
    try:
        namespace = importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise ValueError(
            f"{name} needs the package {package}, which is not installed: pip install {package}"
        ) from error
    except Exception as error:  # a foreign module may raise anything
        raise ValueError(
            f"{name}: {module} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found = vars(namespace).get(attribute)
    if not isinstance(found, type) or not issubclass(found, torch.optim.Optimizer):
        optimizers = [
            key
            for key, value in vars(namespace).items()
            if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
        ]
        raise ValueError(
            f"{module} has no optimizer {attribute!r}{did_you_mean(attribute, optimizers)}"
        )
    return found


def is_schedule_free(optimizer: Any) -> bool:
    """Returns whether an optimizer, or its class, holds training weights and averaged weights.

    It is recognized by its methods ``train()`` and ``eval()``, which exchange the two.
    """
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))
