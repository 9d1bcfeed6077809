"""The arguments that ``train`` and ``test`` share with BasicSR's scripts; loads only click."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import click


@dataclass
class RunArguments:
    """Command-line arguments of ``train`` and ``test``, under BasicSR's names."""

    opt: str
    launcher: Literal["none", "pytorch", "slurm"] = "none"
    auto_resume: bool = False
    debug: bool = False
    local_rank: int = 0
    force_yml: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)  # datasets to measure; empty: all


def run_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that adds BasicSR's arguments to a command."""
    decorators: list[Callable[..., Any]] = [
        click.option(
            "-opt", "--opt", "opt", required=True, metavar="FILE", help="Option file (YAML)."
        ),
        click.option(
            "--launcher",
            type=click.Choice(["none", "pytorch", "slurm"]),
            default="none",
            show_default=True,
            help="Launcher that started the processes: torchrun (pytorch), Slurm, or none for a "
            "single process.",
        ),
        click.option(
            "--auto_resume",
            "--auto-resume",
            is_flag=True,
            help="Continue from the last checkpoint of this experiment, if it has one.",
        ),
        click.option(
            "--debug",
            is_flag=True,
            help="Prefix the name with debug_, and log and validate every few iterations.",
        ),
        overrides_arguments,
        click.option("--local_rank", "--local-rank", default=0, hidden=True),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def overrides_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that adds ``force_yml`` and ``more``, which :func:`joined_overrides` joins."""
    option = click.option(
        "--force_yml",
        "--force-yml",
        multiple=True,
        metavar="KEY:KEY=VALUE",
        help="Change the option file for this run, for example train:total_iter=1000. "
        "More entries may follow.",
    )
    return option(click.argument("more", nargs=-1, metavar="[KEY:KEY=VALUE]...")(function))


def joined_overrides(force_yml: tuple[str, ...], more: tuple[str, ...]) -> list[str]:
    """Returns the entries behind ``--force_yml``, of which BasicSR takes any number.

    Raises:
        UsageError: there are entries without it.
    """
    if more and not force_yml:
        raise click.UsageError(
            f"unexpected argument {more[0]!r}; to change an option: --force_yml {more[0]}"
        )
    return [*force_yml, *more]


def as_run_arguments(
    opt: str,
    launcher: Any,
    auto_resume: bool,
    debug: bool,
    force_yml: tuple[str, ...],
    local_rank: int,
    more: tuple[str, ...],
) -> RunArguments:
    """Converts what click parsed to the arguments of a run."""
    overrides = joined_overrides(force_yml, more)
    return RunArguments(opt, launcher, auto_resume, debug, local_rank, overrides)


def parse_command_line(command: str) -> RunArguments:
    """Parses ``sys.argv`` for a script that calls BasicSR's pipelines itself.

    Args:
        command: name of the command in its help.
    """

    @click.command(command)
    @run_arguments
    def parse(**arguments: Any) -> RunArguments:
        return as_run_arguments(**arguments)

    try:
        result = parse.main(sys.argv[1:], prog_name=sys.argv[0], standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    if not isinstance(result, RunArguments):  # --help was printed
        raise SystemExit(0)
    return result
