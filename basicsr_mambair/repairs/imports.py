"""Repairs without which ``import basicsr`` fails."""

from __future__ import annotations

import importlib.util
import sys
import types

from basicsr_mambair.repairs.repair import repair


@repair(
    "torchvision.transforms.functional_tensor was removed; basicsr.data.degradations imports it",
    thread="BasicSR#533, BasicSR#663",
)
def functional_tensor() -> bool:
    """Offers the one function that BasicSR needs under the former module name."""
    name = "torchvision.transforms.functional_tensor"
    if importlib.util.find_spec(name) is not None:
        return False
    from torchvision.transforms import functional

    module = types.ModuleType(name)
    module.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[name] = module
    return True


@repair(
    "basicsr.metrics.niqe imports scipy.ndimage.filters, which SciPy 2 removes",
    thread="SciPy's deprecation warning of that module; basicsr/metrics/niqe.py:5",
)
def scipy_filters() -> bool:
    """Offers ``scipy.ndimage`` under the name of its former sub-module."""
    name = "scipy.ndimage.filters"
    if importlib.util.find_spec(name) is not None:
        return False
    import scipy.ndimage

    sys.modules[name] = scipy.ndimage
    return True


@repair(
    "basicsr.archs.arch_util imports distutils.version, which Python 3.12 removed",
    thread="PEP 632; BasicSR#749",
)
def distutils_version() -> bool:
    """Offers ``LooseVersion`` where neither Python nor setuptools provides distutils."""
    if importlib.util.find_spec("distutils") is not None:
        return False
    from packaging.version import Version

    package = types.ModuleType("distutils")
    package.__path__ = []
    module = types.ModuleType("distutils.version")
    module.LooseVersion = Version  # type: ignore[attr-defined]
    package.version = module  # type: ignore[attr-defined]
    sys.modules["distutils"] = package
    sys.modules["distutils.version"] = module
    return True
