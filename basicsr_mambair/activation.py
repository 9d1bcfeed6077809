"""Repairs BasicSR and fills its registries at the moment when it is imported.

BasicSR cannot be imported before some repairs, and importing it takes seconds. So importing this
package imports nothing of it; a finder on ``sys.meta_path`` waits for ``import basicsr`` and puts
the repairs before and the registration after the execution of that module.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

_TARGET = "basicsr"


def install() -> None:
    """Makes ``import basicsr`` activate the plugin; activates it at once if that has happened."""
    if _TARGET in sys.modules:
        _activate()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _activate() -> None:
    from basicsr_mambair import plugins, registering, repairs

    repairs.apply_repairs()
    registering.import_all()
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
            _wrap(spec.loader, self)
        return spec


def _wrap(loader: importlib.abc.Loader, finder: _Finder) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        from basicsr_mambair import repairs

        repairs.apply_import_repairs()
        execute(module)
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        _activate()

    loader.exec_module = exec_module  # type: ignore[method-assign]
