"""Models (training and validation of a network), under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)

from basicsr_mambair.models.gan_model import RestorationGANModel
from basicsr_mambair.models.realesrgan_models import RealESRGANModel, RealESRNetModel
from basicsr_mambair.models.restoration_model import (
    ImageCleanModel,
    MambaIRModel,
    MambaIRv2LightModel,
    MambaIRv2Model,
    RestorationModel,
)
from basicsr_mambair.registering import SUFFIX

__all__ = [
    "ImageCleanModel",
    "MambaIRModel",
    "MambaIRv2LightModel",
    "MambaIRv2Model",
    "RealESRGANModel",
    "RealESRNetModel",
    "RestorationGANModel",
    "RestorationModel",
    "is_own_model",
]

# Registered with a suffix, because other packages register the plain names.
_SUFFIXED = ("RealESRGANModel", "RealESRNetModel")


def is_own_model(name: object) -> bool:
    """Returns whether a ``model_type``, as options hold it once loaded, is one of this package."""
    plain = [each for each in __all__ if each != is_own_model.__name__]
    return name in {f"{each}_{SUFFIX}" if each in _SUFFIXED else each for each in plain}
