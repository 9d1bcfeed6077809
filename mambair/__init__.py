"""MambaIRv2 and what runs it: networks, the selective scan, and restoring pictures.

Importing this package changes nothing in the process and loads no BasicSR.
"""

from mambair._version import __version__

__all__ = ["__version__"]
