"""Models (training and validation of a network), under the names that option files use.

The classes are imported on first use, because :func:`is_own_model` is also called where BasicSR is
not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basicsr_mambair.models.restoration_model import (
        MambaIRModel,
        MambaIRv2LightModel,
        MambaIRv2Model,
        RestorationModel,
    )

__all__ = [
    "MambaIRModel",
    "MambaIRv2LightModel",
    "MambaIRv2Model",
    "RestorationModel",
    "is_own_model",
]

_MODELS = frozenset(__all__) - {"is_own_model"}


def is_own_model(name: object) -> bool:
    """Returns whether a ``model_type`` is a model of this package."""
    return name in _MODELS


def __getattr__(name: str) -> Any:
    if name in _MODELS:
        from basicsr_mambair.models import restoration_model

        return getattr(restoration_model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
