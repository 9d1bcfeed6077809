"""The command group, and how errors reach the user."""

from __future__ import annotations

import warnings
from typing import Any

import click

from basicsr_mambair import __version__
from basicsr_mambair.cli.complexity import complexity
from basicsr_mambair.cli.doctor import doctor
from basicsr_mambair.cli.export import export
from basicsr_mambair.cli.memory import keep_freed_memory
from basicsr_mambair.cli.models import models
from basicsr_mambair.cli.prepare import prepare
from basicsr_mambair.cli.report import report
from basicsr_mambair.cli.restore import restore
from basicsr_mambair.cli.test import test
from basicsr_mambair.cli.train import train
from basicsr_mambair.metrics.perceptual import MetricUnavailableError
from basicsr_mambair.options import OptionError
from basicsr_mambair.prepare.jobs import PrepareError
from basicsr_mambair.report import MeasurementError
from mambair.checkpoint import CheckpointError
from mambair.imaging.errors import PictureError
from mambair.ops.selective_scan import BackendUnavailableError

# What a user can mend is told without a traceback.
_USER_ERRORS = (
    OptionError,
    CheckpointError,
    PictureError,
    PrepareError,
    MeasurementError,
    MetricUnavailableError,
    BackendUnavailableError,
    FloatingPointError,
)


_format_with_place = warnings.formatwarning


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Warnings for the user without the line of code that gave them."""
    if category is UserWarning:
        return f"Warning: {message}\n"
    return _format_with_place(message, category, filename, lineno, line)


class _Group(click.Group):
    """A group that shows errors of the user's making as one message and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        warnings.formatwarning = _format_warning
        keep_freed_memory()
        try:
            return super().invoke(ctx)
        except _USER_ERRORS as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="basicsr-mambair")
def main() -> None:
    """Train, measure and use MambaIRv2 and every network of BasicSR."""


for _command in (train, test, restore, report, prepare, complexity, export, models, doctor):
    main.add_command(_command)
