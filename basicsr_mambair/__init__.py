"""MambaIRv2 as a plugin of BasicSR.

Once this package is imported, BasicSR is repaired (:mod:`basicsr_mambair.repairs`) and has the
networks, datasets, metrics and models of this package in its registries. Both happen when BasicSR
is imported, or at once if it has been; importing this package alone loads neither it nor torch.
"""

from basicsr_mambair import activation
from mambair._version import __version__

__all__ = ["__version__"]

activation.install()
