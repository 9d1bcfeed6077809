"""Repairs BasicSR and fills its registries at the moment when it is imported.

BasicSR cannot be imported without some repairs, and importing it takes seconds. Importing this
package therefore does not import BasicSR: a finder on ``sys.meta_path`` waits for ``import
basicsr``, applies the repairs before that module runs, and registers everything afterwards.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

from mambair.errors import UserError

_TARGET = "basicsr"
_VERSION = "1.4.2"  # the last release, which the repairs are written for


class ForkError(UserError, ImportError):
    """``import basicsr`` found a fork that does not work; the message names its path."""


def install() -> None:
    """Activates the plugin when BasicSR is imported, or at once if it has been already."""
    if _TARGET in sys.modules:
        _activate()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _activate() -> None:
    from basicsr_mambair import plugins, registering, repairs
    from basicsr_mambair.training import hooks  # noqa: F401  (declares repairs of its own)

    repairs.apply_repairs()
    registering.import_all()
    # Messages of the networks (such as the backend in use) belong in the log of a run.
    logging.getLogger("mambair").parent = logging.getLogger(_TARGET)
    plugins.load_installed_plugins()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds BasicSR as the other finders do, and wraps its execution, once."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _TARGET:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            _wrap(spec, spec.loader, self)
        return spec


def _wrap(
    spec: importlib.machinery.ModuleSpec, loader: importlib.abc.Loader, finder: _Finder
) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        from basicsr_mambair import plugins, repairs

        repairs.apply_import_repairs()
        fork = _describe_fork(spec)
        try:
            execute(module)
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
            _activate()
        except plugins.PluginError:
            raise
        except Exception as error:  # a fork, which is not supported, may raise anything
            if fork is None:
                raise
            raise ForkError(f"{fork}. It fails with {type(error).__name__}: {error}") from error
        if fork is not None:
            warnings.warn(fork, stacklevel=2)

    loader.exec_module = exec_module  # type: ignore[method-assign]


def _describe_fork(spec: importlib.machinery.ModuleSpec) -> str | None:
    """Describes the fork that hides BasicSR's release; ``None`` if the release is found."""
    from importlib import metadata
    from pathlib import Path

    origin = Path(spec.origin or "").resolve()
    remedy = "work in another folder, or rename that one"
    try:
        installed = metadata.distribution(_TARGET)
    except metadata.PackageNotFoundError:
        remedy += f", and install the release: pip install {_TARGET}=={_VERSION}"
    else:
        if Path(str(installed.locate_file(f"{_TARGET}/__init__.py"))).resolve() == origin:
            if installed.version == _VERSION:
                return None
            remedy = f"pip uninstall {_TARGET} && pip install {_TARGET}=={_VERSION}"
    return (
        f"{origin.parent} is imported as {_TARGET}, a fork that hides the BasicSR {_VERSION} of "
        f"PyPI, which basicsr-mambair is made for; {remedy}"
    )
