"""Networks, under the names that option files use; every ``*_arch.py`` of this folder is one."""

import importlib
import pkgutil

from mambair.archs.mambair_arch import MambaIR
from mambair.archs.mambair_unet_arch import MambaIRUNet
from mambair.archs.mambairv2_arch import MambaIRv2, MambaIRv2Light
from mambair.archs.mambairv2_unet_arch import MambaIRv2UNet

__all__ = ["MambaIR", "MambaIRUNet", "MambaIRv2", "MambaIRv2Light", "MambaIRv2UNet"]

for _module in pkgutil.iter_modules(__path__):
    if _module.name.endswith("_arch"):  # which registers the networks in it
        importlib.import_module(f"{__name__}.{_module.name}")
