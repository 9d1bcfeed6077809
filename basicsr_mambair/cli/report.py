"""``basicsr report``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from basicsr_mambair.cli.interrupted import Interrupted
from basicsr_mambair.cli.launcher_option import launcher_option

_OUTPUT = Path("results/report")


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS]...")
@click.option(
    "-opt", "--opt", "paths", multiple=True, metavar="FILE",
    help="Test option file (YAML) to measure; may be repeated.",
)  # fmt: skip
@click.option(
    "--compare", "compared", nargs=2, metavar="BEFORE AFTER",
    help="Print what the networks of two test option files cost and reach, beside each other; "
    "nothing is measured.",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=_OUTPUT,
    show_default=True,
    help="Folder for the report.",
)
@click.option(
    "--routing",
    type=click.Choice(["sampled", "seeded", "argmax"]),
    help="Choose prompts with sampled noise as published, with seeded noise, or without noise.  "
    "[default: as the option file says]",
)
@click.option(
    "--tile",
    metavar="authors|none|SIZE",
    help="Cut pictures as the authors do, not at all, or into blended tiles of SIZE pixels, with "
    "the usual overlap.  "
    "[default: as the option file says]",
)
@click.option(
    "--self-ensemble", is_flag=True, help='Average over the eight orientations (the "+" rows).'
)
@click.option(
    "--crop",
    "chosen",
    multiple=True,
    metavar="DATASET/PICTURE",
    help="Show crops of this picture; may be repeated.  [default: those whose figures rose most]",
)
@launcher_option
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the Markdown to this file too, with its plots beside it.",
)
def report(
    folders: tuple[Path, ...],
    paths: tuple[str, ...],
    compared: tuple[str, str] | None,
    output: Path,
    routing: str | None,
    tile: str | None,
    self_ensemble: bool,
    chosen: tuple[str, ...],
    launcher: str,
    markdown: Path | None,
) -> None:
    """Measure test option files and compare the figures with published ones.

    Writes report.html, report.md, report.tex, images.csv and plots. RESULTS are folders of earlier
    measurements (results/measurements/NAME). A measurement that was stopped continues with the next
    picture when the same command is run again.

    \b
    basicsr report -opt options/test/mambairv2_light_x2.yml
    torchrun --nproc_per_node=4 -m basicsr_mambair report -opt FILE --launcher pytorch
    basicsr report -opt FILE --self-ensemble --routing sampled
    basicsr report results/measurements/test_tiny_x2 results/measurements/test_tiny_x3
    basicsr report --compare options/test/mambair_light_x2.yml options/test/mambairv2_light_x2.yml
    """
    from basicsr_mambair.report import Variant, compare, measure, plan, read, write_report
    from basicsr_mambair.report.panels import check_chosen, picture_names
    from basicsr_mambair.training.requirements import require_basicsr
    from basicsr_mambair.training.share import shared
    from mambair.inference.tiles import TileError, parse_tile

    if compared is not None:
        if paths:
            raise click.UsageError("--compare measures nothing: give -opt in a command of its own")
        click.echo(compare(*compared, [read(folder) for folder in folders]))
        return
    if not paths and not folders:
        raise click.UsageError("nothing to report: give -opt FILE or folders of measurements")
    if tile is not None:
        try:
            parse_tile(tile)
        except TileError as error:
            raise click.BadParameter(str(error), param_hint="--tile") from error
    if paths:
        require_basicsr()
    variant = Variant(routing, tile, self_ensemble)  # type: ignore[arg-type]  # click has checked
    measurements = [read(folder) for folder in folders]
    plans = [plan(path, variant) for path in paths]
    _check_names([each.name for each in plans])
    known = [name for each in plans for name in each.pictures]
    check_chosen([*known, *(name for m in measurements for name in picture_names(m))], chosen)
    try:
        with shared(launcher, "the same command continues from here") as share:
            measurements += [measure(path, variant, share) for path in paths]
            share.meet()  # the report shows the pictures of all
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command continues from here") from None
    if share.rank > 0:  # the first process has all figures
        return
    # A folder that is named twice, or measured by an option file too, is one measurement.
    measurements = list({each.folder.resolve(): each for each in measurements}.values())
    command = _command(
        paths,
        folders,
        output,
        {"--routing": routing, "--tile": tile},
        self_ensemble,
        chosen,
        markdown,
    )
    files = write_report(measurements, output, command, chosen)
    if markdown is not None:
        files += _copy_markdown(files, markdown)
    for file in files:
        click.echo(file)
    failures = [each for measurement in measurements for each in measurement.failures]
    for failure in failures:
        click.secho(f"not measured: {failure}", fg="red", err=True)
    if failures:
        raise SystemExit(1)


def _check_names(names: list[str]) -> None:
    """Refuses two measurements of one name, which would overwrite each other."""
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(f"two of the option files have the name {name!r}")


def _command(
    paths: tuple[str, ...],
    folders: tuple[Path, ...],
    output: Path,
    values: dict[str, str | None],
    self_ensemble: bool,
    chosen: tuple[str, ...],
    markdown: Path | None,
) -> str:
    """Returns the command line that reproduces this report, one argument on each line."""
    arguments: list[tuple[str, ...]] = [("-opt", path) for path in paths]
    arguments += [(option, value) for option, value in values.items() if value is not None]
    arguments += [("--self-ensemble",)] if self_ensemble else []
    arguments += [("--crop", name) for name in chosen]
    arguments += [(str(folder),) for folder in folders]
    arguments += [("-o", str(output))] if output != _OUTPUT else []
    arguments += [("--markdown", str(markdown))] if markdown is not None else []
    return " \\\n  ".join(["basicsr report", *map(shlex.join, arguments)])


def _copy_markdown(files: list[Path], target: Path) -> list[Path]:
    """Copies the Markdown and its plots; the plots get the name of the copy as a prefix."""
    from mambair.imaging.writing import write_bytes

    text = next(file for file in files if file.suffix == ".md").read_text(encoding="utf-8")
    copies = [target]
    for plot in (file for file in files if file.suffix == ".svg"):
        copy = target.with_name(f"{target.stem}_{plot.name}")
        text = text.replace(f"({plot.name})", f"({copy.name})")
        write_bytes(plot.read_bytes(), copy)
        copies.append(copy)
    write_bytes(text.encode(), target)
    return copies
