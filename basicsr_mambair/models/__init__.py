"""Models (training and validation of a network), under the names that option files use.

The classes are imported on first use, because :func:`is_own_model` is also called where BasicSR is
not needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from basicsr_mambair.registering import SUFFIX

if TYPE_CHECKING:
    from basicsr_mambair.models.gan_model import RestorationGANModel
    from basicsr_mambair.models.realesrgan_models import RealESRGANModel, RealESRNetModel
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
    "RealESRGANModel",
    "RealESRNetModel",
    "RestorationGANModel",
    "RestorationModel",
    "is_own_model",
]

_MODULES = {
    "MambaIRModel": "restoration_model",
    "MambaIRv2LightModel": "restoration_model",
    "MambaIRv2Model": "restoration_model",
    "RealESRGANModel": "realesrgan_models",
    "RealESRNetModel": "realesrgan_models",
    "RestorationGANModel": "gan_model",
    "RestorationModel": "restoration_model",
}
# Registered with a suffix, because other packages register the plain names.
_SUFFIXED = ("RealESRGANModel", "RealESRNetModel")


def is_own_model(name: object) -> bool:
    """Returns whether a ``model_type``, as options hold it once loaded, is one of this package."""
    return name in {f"{each}_{SUFFIX}" if each in _SUFFIXED else each for each in _MODULES}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
