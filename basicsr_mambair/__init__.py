"""MambaIRv2 as a plugin of BasicSR.

Importing this package repairs what keeps BasicSR 1.4.2 from running on today's stack
(:mod:`basicsr_mambair.compat`) and registers networks, datasets and models in BasicSR's registries.
"""

from basicsr_mambair import compat
from basicsr_mambair._version import __version__

__all__ = ["__version__"]

compat.apply_repairs()

from basicsr_mambair import registration  # noqa: E402  (BasicSR imports only once repaired)

registration.register_all()
