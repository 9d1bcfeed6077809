"""The networks of :mod:`mambair` in BasicSR's ``ARCH_REGISTRY``."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)
