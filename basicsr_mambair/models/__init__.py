"""Models (training and validation of a network), under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)

from basicsr_mambair.models.mambairv2_model import (
    MambaIRModel,
    MambaIRv2LightModel,
    MambaIRv2Model,
)

__all__ = ["MambaIRModel", "MambaIRv2LightModel", "MambaIRv2Model", "is_own_model"]


def is_own_model(name: object) -> bool:
    """Whether a ``model_type`` is a model of this package."""
    return name in {cls.__name__ for cls in (MambaIRModel, MambaIRv2Model, MambaIRv2LightModel)}
