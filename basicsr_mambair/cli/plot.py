"""``basicsr plot``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "-v", "--value", "values", multiple=True, metavar="NAME",
    help="Value to draw (l_pix, lr, psnr, Set5/psnr, images_per_second…); may be repeated.  "
    "[default: the first loss, and every figure of validation]",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("curves.png"),
    show_default=True,
    help="The file to write; its ending is the format: png, svg or pdf.",
)
@click.option(
    "--smooth", type=click.IntRange(1), default=1, metavar="N",
    help="Draw the mean of N reports, and the reports faintly behind it.",
)  # fmt: skip
@click.option("--log", is_flag=True, help="Draw values of training on a logarithmic scale.")
@click.option(
    "--from", "first", type=click.IntRange(0), default=0, metavar="ITERATION",
    help="Leave out iterations before this one.",
)  # fmt: skip
def plot(
    names: tuple[str, ...],
    values: tuple[str, ...],
    output: Path,
    smooth: int,
    log: bool,
    first: int,
) -> None:
    """Draw curves of one or several runs, which may be going on.

    RUN is the name of an experiment under the current directory, or the folder of a run. Every
    value has a panel of its own, with a curve for every run and every data set.

    \b
    basicsr plot quickstart
    basicsr plot first second -v l_pix -v psnr --smooth 20 -o both.svg
    """
    from basicsr_mambair.runs.curves import FORMATS, choose, draw, find_run, read_curves
    from mambair.imaging.writing import write_bytes

    suffix = output.suffix.lower()
    if suffix not in FORMATS:
        raise click.BadParameter(f"must end in {', '.join(FORMATS)}", param_hint="--output")
    panels = choose(read_curves([find_run(name) for name in names], first), values)
    write_bytes(draw(panels, suffix, smooth, log), output)
    click.echo(f"{output}: {', '.join(panels)}")
