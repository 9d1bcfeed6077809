"""The flags that name sources and results, the same for pictures and videos.

Results that are there already stay, unless a flag says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mambair.errors import listed
from realesrgan_compat.cli.command import say

Job = TypeVar("Job")
Function = TypeVar("Function", bound=Callable[..., Any])


def file_options(noun: str) -> Callable[[Function], Function]:
    """Adds the flags to a command, among them ``source``, ``output`` and ``suffix``.

    Args:
        noun: what is read: "picture" or "video".
    """
    options = [
        click.option(
            "-i",
            "--input",
            "source",
            default="inputs",
            show_default=True,
            metavar="FILE|FOLDER",
            help=f"A {noun}, or a folder of {noun}s.",
        ),
        click.option(
            "-o",
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("results"),
            show_default=True,
            help="Folder of the results; it is created.",
        ),
        click.option(
            "--suffix", default="out", show_default=True, help="Results are named NAME_SUFFIX."
        ),
        click.option("--overwrite", is_flag=True, help="Replace results that are there."),
        click.option("--skip-existing", is_flag=True, help="Leave results that are there."),
    ]

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


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
        raise click.UsageError(
            f"{listed(there.values(), shown=3)}: there already; "
            "give --overwrite, --skip-existing or another -o"
        )
    say(f"{len(there)} of {len(jobs)} results were there already")
    return [job for number, job in enumerate(jobs) if number not in there]
