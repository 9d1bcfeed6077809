"""``basicsr test``."""

from __future__ import annotations

from typing import Any

import click

from basicsr_mambair.training.arguments import as_run_arguments, run_arguments


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="DATASET",
    help="Measure only this data set of the file; may be repeated.  [default: all]",
)
@run_arguments
def test(only: tuple[str, ...], **arguments: Any) -> None:
    """Measure a network on the data sets of an option file.

    Writes pictures and the log to results/NAME/ under the current directory, or under
    path.results_root of the option file.

    \b
    basicsr test -opt options/test/mambairv2_light_x2.yml
    """
    given = as_run_arguments(**arguments)
    given.only = list(only)
    from basicsr_mambair.training.run import test as run

    run(given)
