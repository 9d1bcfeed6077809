"""``basicsr test``."""

from __future__ import annotations

import os
from typing import Any

import click

from basicsr_mambair.cli.run_arguments import arguments_given, as_run_arguments, run_arguments


@click.command()
@run_arguments
def test(**arguments: Any) -> None:
    """Measure a network on the data sets of an option file.

    Writes pictures and the log to results/NAME/ under the current directory, or under
    path.results_root of the option file.

    \b
    basicsr test -opt options/test/mambairv2_light_x2.yml
    """
    import basicsr.test

    with arguments_given(as_run_arguments(**arguments)):
        basicsr.test.test_pipeline(os.getcwd())
