"""Networks, under the names that option files use."""

from mambair.archs.mambair_arch import MambaIR
from mambair.archs.mambairv2_arch import MambaIRv2, MambaIRv2Light

__all__ = ["MambaIR", "MambaIRv2", "MambaIRv2Light"]
