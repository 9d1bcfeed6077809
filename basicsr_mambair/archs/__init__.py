"""Networks, under the names that option files use."""

from basicsr_mambair.archs.mambair_arch import MambaIR
from basicsr_mambair.archs.mambairv2_arch import MambaIRv2, MambaIRv2Light

__all__ = ["MambaIR", "MambaIRv2", "MambaIRv2Light"]
