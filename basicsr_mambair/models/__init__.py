"""Models (training and validation of a network), under the names that option files use."""

from basicsr_mambair.models.mambairv2_model import MambaIRv2LightModel, MambaIRv2Model

__all__ = ["MambaIRv2LightModel", "MambaIRv2Model", "is_own_model"]


def is_own_model(name: object) -> bool:
    """Whether a ``model_type`` is a model of this package."""
    return name in (MambaIRv2Model.__name__, MambaIRv2LightModel.__name__)
