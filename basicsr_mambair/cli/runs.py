"""``basicsr runs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from basicsr_mambair.runs.listing import Run


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("experiments"))
@click.option("--archived", is_flag=True, help="List runs, too, that were begun anew since.")
def runs(folder: Path, archived: bool) -> None:
    """List the runs in FOLDER: state, iteration, last figures, and how to go on.

    FOLDER is experiments/ under the current directory unless it is given. A run is running if a
    process holds its lock; otherwise it is finished or stopped. For every run that is stopped the
    command that goes on with it is printed.

    \b
    basicsr runs
    basicsr runs /data/experiments --archived
    """
    from tabulate import tabulate

    from basicsr_mambair.runs.listing import NoRunsError, describe_run, find_runs
    from mambair.errors import UserError

    found, problems = [], []
    for path in find_runs(folder):
        try:
            found.append(describe_run(path))
        except UserError as error:
            problems.append(str(error))
    shown = [run for run in found if archived or not run.is_archived]
    if not found and not problems:
        raise NoRunsError(f"{folder}: there are no runs here; `basicsr train` makes them")
    if shown:
        headers = ["run", "state", "iteration", "last figures"]
        click.echo(tabulate(map(_row, shown), headers, tablefmt="plain", disable_numparse=True))
    left_out = len(found) - len(shown)
    if left_out:
        click.echo(f"and {left_out} that were begun anew since (--archived lists them)")
    for run in shown:
        if run.remark or run.resume:
            click.echo(f"\n{run.folder.name}: {_remark(run)}")
        if run.resume:
            click.echo(f"  {run.resume}")
    for problem in problems:
        click.secho(f"not listed: {problem}", fg="red", err=True)
    if problems:
        raise SystemExit(1)


def _row(run: Run) -> list[str]:
    total = "" if run.total is None else f" of {run.total:,}"
    iteration = "?" if run.iteration is None else f"{run.iteration:,}"
    figures = [
        f"{name} {'not finite' if value is None else f'{value:.4g}'}"
        for name, value in run.figures.items()
    ]
    return [run.folder.name, run.state, iteration + total, ", ".join(figures)]


def _remark(run: Run) -> str:
    if run.state != "stopped":
        return run.remark
    if run.saved is None:
        return f"stopped ({run.remark}) before a checkpoint was saved. To begin anew:"
    return f"stopped ({run.remark}); saved at {run.saved:,}" + (". To go on:" * bool(run.resume))
