"""The option ``--import``: the user's own modules, which register networks."""

from __future__ import annotations

import click

modules_option = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import this Python module first, which registers a network of your own; may be repeated.",
)


def import_modules(names: tuple[str, ...]) -> None:
    """Imports the modules that the command line names.

    Raises:
        PluginError: one cannot be imported; names it.
    """
    if names:
        from basicsr_mambair.plugins import import_plugins

        import_plugins(names)
