"""The command group: finds sub-commands when they are asked for, and reports errors."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import Any

import click

from basicsr_mambair import __version__
from basicsr_mambair.cli.interrupted import Interrupted
from mambair.errors import UserError

# Each name is a module of this folder that holds the command under the same name; this is also
# the order in which --help lists them. These modules import torch, BasicSR and whatever else takes
# time inside their functions, so that help and completion need none of it.
COMMANDS = (
    "train", "test", "runs", "plot", "restore", "models", "report", "prepare", "preview",
    "validate", "schema", "complexity", "explain", "export", "interpolate", "doctor",
)  # fmt: skip

_format_with_place = warnings.formatwarning


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Formats warnings for the user, without the line of code that caused them."""
    if category is UserWarning:
        return f"Warning: {message}\n"
    return _format_with_place(message, category, filename, lineno, line)


class _LazyGroup(click.Group):
    """A group that imports a sub-command when it is asked for.

    Errors that a user can correct are shown as one message, with exit status 1.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"basicsr_mambair.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        from basicsr_mambair.cli.memory import keep_freed_memory

        warnings.formatwarning = _format_warning
        _print_anything()
        keep_freed_memory()
        try:
            return super().invoke(ctx)
        except click.ClickException:
            raise
        except (UserError, FloatingPointError) as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.filename is None:  # a closed pipe, which click ends silently
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted") from error
        except Exception as error:
            if _was_interrupted(error):
                raise Interrupted("interrupted") from error
            raise


def _print_anything() -> None:
    """Shows names that are no text, or that the terminal cannot show, by escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _was_interrupted(error: BaseException | None) -> bool:
    """Returns whether Ctrl-C caused an error; modules being imported wrap it in their own."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="basicsr-mambair")
def main() -> None:
    """Train, measure and use MambaIRv2 and every network of BasicSR."""
