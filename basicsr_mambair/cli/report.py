"""``basicsr report``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS]...")
@click.option(
    "-opt", "--opt", "paths", multiple=True, metavar="FILE",
    help="Test option file (YAML) to measure; may be repeated.",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/report"),
    show_default=True,
    help="Folder for the report.",
)
@click.option(
    "--routing",
    type=click.Choice(["sampled", "seeded", "argmax"]),
    help="How tokens choose their prompt: sampled as published, seeded, or without noise.  "
    "[default: as the option file says]",
)
@click.option(
    "--tile", metavar="authors|none|SIZE", help="[default: as the option file says, or authors]"
)
@click.option(
    "--self-ensemble", is_flag=True, help='Average over the eight orientations (the "+" rows).'
)
@click.option(
    "--crop",
    "chosen",
    multiple=True,
    metavar="DATASET/PICTURE",
    help="Show this picture; may be repeated.  [default: those that gained most]",
)
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the Markdown here, with its plots beside it.",
)
def report(
    folders: tuple[Path, ...],
    paths: tuple[str, ...],
    output: Path,
    routing: str | None,
    tile: str | None,
    self_ensemble: bool,
    chosen: tuple[str, ...],
    markdown: Path | None,
) -> None:
    """Measure test option files and set the figures beside the published ones.

    Writes report.html, report.md, report.tex, images.csv and plots. RESULTS are folders of
    measurements that `report` made before (results/NAME). A stopped measurement goes on with the
    next picture when the same command is given again.

    \b
    basicsr report -opt options/test/mambairv2_light_x2.yml
    basicsr report -opt FILE --self-ensemble --routing sampled
    basicsr report results/test_tiny_x2 results/test_tiny_x2_ensemble
    """
    from basicsr_mambair.inference.tiles import TileError, parse_tile
    from basicsr_mambair.report import Variant, measure, read, write_report

    if not paths and not folders:
        raise click.UsageError("nothing to report: give -opt FILE or folders of results")
    if tile is not None:
        try:
            parse_tile(tile)
        except TileError as error:
            raise click.BadParameter(str(error), param_hint="--tile") from error
    variant = Variant(routing, tile, self_ensemble)  # type: ignore[arg-type]  # click has checked
    measurements = [read(folder) for folder in folders]
    try:
        measurements += [measure(path, variant) for path in paths]
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the same command goes on from here") from None
    arguments = [argument for path in paths for argument in ("-opt", path)]
    arguments += [f"--routing {routing}"] if routing else []
    arguments += [f"--tile {tile}"] if tile else []
    arguments += ["--self-ensemble"] if self_ensemble else []
    arguments += [shlex.quote(str(folder)) for folder in folders]
    command = " \\\n  ".join(["basicsr report", *_in_pairs(arguments)])
    files = write_report(measurements, output, command, chosen)
    if markdown is not None:
        files += _copy_markdown(files, markdown)
    for file in files:
        click.echo(file)


def _in_pairs(arguments: list[str]) -> list[str]:
    """``-opt FILE`` on one line."""
    lines: list[str] = []
    for argument in arguments:
        if lines and lines[-1] == "-opt":
            lines[-1] += f" {argument}"
        else:
            lines.append(argument)
    return lines


def _copy_markdown(files: list[Path], target: Path) -> list[Path]:
    """The Markdown under another name; its plots keep theirs, after the name of the file."""
    from basicsr_mambair.data.image_files import write_bytes

    text = next(file for file in files if file.suffix == ".md").read_text(encoding="utf-8")
    copies = [target]
    for plot in (file for file in files if file.suffix == ".svg"):
        copy = target.with_name(f"{target.stem}_{plot.name}")
        text = text.replace(f"({plot.name})", f"({copy.name})")
        write_bytes(plot.read_bytes(), copy)
        copies.append(copy)
    write_bytes(text.encode(), target)
    return copies
