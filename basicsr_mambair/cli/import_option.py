"""The option ``--import``: modules of the user's own that register networks."""

from __future__ import annotations

import click

modules_option = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import a Python module first, one that registers a network of your own; may be repeated.",
)


def import_modules(names: tuple[str, ...]) -> None:
    """Imports the modules that the command line names.

    Raises:
        PluginError: one cannot be imported; names it.
    """
    if names:
        from basicsr_mambair.plugins import import_plugins

        import_plugins(names)
