"""What the commands share: how they report errors, and how they end when they are interrupted."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import click

from mambair.errors import UserError

_INTERRUPTED = 130  # exit status of a process that SIGINT ended


class InterruptedCommand(click.ClickException):
    """Ends a command with a message and the exit status of a process that SIGINT ended."""

    exit_code = _INTERRUPTED


class FiniteRange(click.FloatRange):
    """A range that does not hold NaN, nor infinity where it has no end."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Converts an argument; refuses what is not finite."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class Command(click.Command):
    """A command that shows errors which a user can correct as one message, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except UserError as error:
                raise click.ClickException(str(error)) from error
            except KeyboardInterrupt as error:
                raise InterruptedCommand("interrupted") from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Shows the warnings that are meant for users, without the line of code that caused them."""
    if category is UserWarning:
        say(f"Warning: {message}")


def say(message: str) -> None:
    """Prints a line to stderr without breaking a progress bar."""
    from tqdm import tqdm

    tqdm.write(message, file=sys.stderr)


def run_command(command: click.Command) -> None:
    """Runs the command line of this process; Ctrl-C ends it with status 130 from here on."""
    try:
        command.main()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
