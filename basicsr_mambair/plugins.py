"""Modules of other authors that add to the registries: named by an option file, or installed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from mambair.errors import UserError

# A package announces itself by an entry point of this group whose value is a module.
ENTRY_POINT_GROUP = "basicsr_mambair.plugins"


class PluginError(UserError, ValueError):
    """A module that should register something cannot be imported; the message says why."""


def load_installed_plugins() -> None:
    """Imports the modules that installed packages announce.

    Raises:
        PluginError: one cannot be imported; names the package.
    """
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except Exception as error:  # a foreign module may raise anything
            package = entry.dist.name if entry.dist is not None else entry.value
            raise PluginError(
                f"the installed package {package} announces {entry.value}, which cannot be "
                f"imported: {type(error).__name__}: {error}"
            ) from error


def import_plugins(names: Sequence[str]) -> None:
    """Imports modules by name, from the current directory too.

    Args:
        names: dotted names, such as ``imports`` of an option file holds.

    Raises:
        PluginError: one cannot be imported; says why.
    """
    here = os.getcwd()
    if names and here not in sys.path:
        sys.path.append(here)  # last: a folder here must not hide an installed package
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a foreign module may raise anything
            raise PluginError(
                f"{name}: cannot be imported: {type(error).__name__}: {error}"
            ) from error
