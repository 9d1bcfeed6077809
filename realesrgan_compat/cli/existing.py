"""What happens to results that are there already: nothing, unless a flag says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from realesrgan_compat.cli.command import say

Job = TypeVar("Job")
Function = TypeVar("Function", bound=Callable[..., Any])
_SHOWN = 3


def existing_options(function: Function) -> Function:
    """Adds the two flags to a command."""
    for option in (
        click.option("--skip-existing", is_flag=True, help="Leave results that are there."),
        click.option("--overwrite", is_flag=True, help="Replace results that are there."),
    ):
        function = option(function)
    return function


def without_existing(
    jobs: Sequence[Job],
    targets: Callable[[Job], Iterable[Path]],
    overwrite: bool,
    skip_existing: bool,
) -> list[Job]:
    """The jobs to do.

    Args:
        jobs: all of them.
        targets: the files that a job may write.
        overwrite: whether results that are there are replaced.
        skip_existing: whether their jobs are left out, which is said.

    Raises:
        UsageError: results are there, and neither was asked for.
    """
    if overwrite and skip_existing:
        raise click.UsageError("--overwrite and --skip-existing exclude each other")
    there = {
        number: path
        for number, job in enumerate(jobs)
        for path in targets(job)
        if path.exists() and not overwrite
    }
    if not there:
        return list(jobs)
    if not skip_existing:
        paths = list(there.values())
        shown = ", ".join(str(path) for path in paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN} more" if paths[_SHOWN:] else ""
        raise click.UsageError(
            f"{shown}{more}: there already; give --overwrite, --skip-existing or another -o"
        )
    say(f"{len(there)} of {len(jobs)} results were there already")
    return [job for number, job in enumerate(jobs) if number not in there]
