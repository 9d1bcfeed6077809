"""``basicsr prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from basicsr_mambair.prepare import Outcome

_source = click.argument("source", metavar="FOLDER")
_workers = click.option(
    "-j", "--workers", type=click.IntRange(1), help="Threads.  [default: all cores]"
)
_folder = click.Path(file_okay=False, path_type=Path)


@click.group()
def prepare() -> None:
    """Create data sets from folders of pictures, and check them.

    Every command uses all cores and skips pictures whose results are up to date, so a command that
    was stopped continues when it is run again.
    """


@prepare.command()
@_source
@click.option("--scale", type=int, required=True, help="Factor by which the sides shrink.")
@click.option(
    "-o",
    "--output",
    type=_folder,
    help="Folder for the results.  [default: datasets/NAME/LR_bicubic/XSCALE, with NAME from "
    "FOLDER]",
)
@click.option(
    "--hr-output",
    type=_folder,
    help="Folder for the source pictures, cut to multiples of the scale.  [default: not written]",
)
@_workers
def lr(
    source: str, scale: int, output: Path | None, hr_output: Path | None, workers: int | None
) -> None:
    """Shrink bicubically, bit-exact with MATLAB's imresize.

    Sides that are not multiples of the scale are first cut at the right and bottom.

    \b
    basicsr prepare lr datasets/DIV2K/HR --scale 2
    """
    from basicsr_mambair.prepare import make_lr

    _print_outcome(make_lr(source, scale, output, hr_output, workers), source)


@prepare.command()
@_source
@click.option(
    "-q",
    "--quality",
    "qualities",
    type=int,
    multiple=True,
    help="JPEG quality, 1 to 100; may be repeated.  [default: 10, 20, 30 and 40]",
)
@click.option(
    "--gray/--color",
    default=True,
    show_default=True,
    help="Convert to gray first, as in the papers, or keep the colors.",
)
@click.option(
    "-o",
    "--output",
    type=_folder,
    help="Folder for the results.  [default: datasets/NAME/JPEG_QUALITY (JPEG_color_QUALITY), with "
    "NAME from FOLDER]",
)
@_workers
def jpeg(
    source: str, qualities: tuple[int, ...], gray: bool, output: Path | None, workers: int | None
) -> None:
    """Compress pictures as JPEG.

    \b
    basicsr prepare jpeg datasets/Classic5
    basicsr prepare jpeg datasets/LIVE1 -q 10 --color
    """
    from basicsr_mambair.prepare import make_jpeg

    if output is not None and len(qualities) != 1:
        raise click.UsageError("--output goes with a single --quality")
    for quality in qualities or (10, 20, 30, 40):
        _print_outcome(make_jpeg(source, quality, gray, output, workers), source)


@prepare.command()
@_source
@click.option("-o", "--output", type=_folder, required=True, help="Folder for the squares.")
@click.option("--size", default=480, show_default=True, help="Side of a square, in pixels.")
@click.option("--step", default=240, show_default=True, help="Distance between squares.")
@click.option(
    "--threshold",
    default=0,
    show_default=True,
    help="Remaining pixels at a border that do not get a square of their own.",
)
@_workers
def crops(
    source: str, output: Path, size: int, step: int, threshold: int, workers: int | None
) -> None:
    """Cut pictures into overlapping squares, which training reads faster than whole pictures.

    For low-resolution pictures, divide --size, --step and --threshold by the scale. A side that is
    shorter than --size is not cut.

    \b
    basicsr prepare crops datasets/DIV2K/HR -o datasets/DIV2K/HR_sub
    basicsr prepare crops datasets/DIV2K/LR_bicubic/X2 -o DIV2K_X2_sub --size 240 --step 120
    """
    from basicsr_mambair.prepare import make_crops

    _print_outcome(make_crops(source, output, size, step, threshold, workers), source)


@prepare.command()
@_source
@click.option(
    "-o",
    "--output",
    type=_folder,
    required=True,
    help="Folder for the database; its name ends in .lmdb.",
)
@_workers
def lmdb(source: str, output: Path, workers: int | None) -> None:
    """Write pictures into an LMDB that BasicSR's datasets read (io_backend: lmdb).

    \b
    basicsr prepare lmdb datasets/DIV2K/HR_sub -o datasets/DIV2K/HR_sub.lmdb
    """
    from basicsr_mambair.prepare import make_lmdb

    _print_outcome(make_lmdb(source, output, workers), source)


@prepare.command()
@click.argument("source", metavar="[FOLDER]", required=False)
@click.option(
    "--blocks",
    metavar="FOLDER",
    help="Folder of ValidationGtBlocksSrgb.mat and ValidationNoisyBlocksSrgb.mat: write their "
    "blocks as pictures.  [default: not written]",
)
@click.option(
    "-o",
    "--output",
    type=_folder,
    default=Path("datasets/SIDD"),
    show_default=True,
    help="Folder for train/ and val/, each with target_crops/ and input_crops/.",
)
@click.option("--size", default=512, show_default=True, help="Side of a square, in pixels.")
@click.option("--step", default=384, show_default=True, help="Distance between squares.")
@_workers
def sidd(
    source: str | None,
    blocks: str | None,
    output: Path,
    size: int,
    step: int,
    workers: int | None,
) -> None:
    """Cut the photographs of SIDD-Medium (sRGB) into the squares that training reads.

    FOLDER holds them as they are unpacked, in sub-folders. Measuring reads the validation blocks
    from MATLAB's files; a training that validates on pictures can have them by --blocks.

    \b
    basicsr prepare sidd datasets/SIDD_Medium_Srgb/Data
    basicsr prepare sidd --blocks datasets/SIDD
    """
    from basicsr_mambair.prepare import make_sidd_blocks, make_sidd_crops

    if source is None and blocks is None:
        raise click.UsageError("nothing to do: give the FOLDER of the photographs or --blocks")
    if source is not None:
        _print_outcome(make_sidd_crops(source, output, size, step, workers=workers), source)
    if blocks is not None:
        _print_outcome(make_sidd_blocks(blocks, output, workers), blocks)


@prepare.command()
@click.option(
    "-opt", "--opt", "path", required=True, metavar="FILE", help="A train or test option file."
)
@click.option("--decode", is_flag=True, help="Decode every picture, to find damaged ones.")
@_workers
def check(path: str, decode: bool, workers: int | None) -> None:
    """Check the data of an option file: folders, counts, pairs, sizes.

    The exit status is 1 if something is missing or does not fit.

    \b
    basicsr prepare check -opt options/test/mambairv2_light_x2.yml
    """
    from basicsr_mambair.prepare.check import check_option_file

    shown = 10
    broken = False
    for report in check_option_file(path, decode, workers):
        click.secho(report.name, bold=True)
        click.echo(f"  {report.pictures} pictures, {report.pairs} usable")
        for note in report.notes:
            click.secho(f"  note: {note}", fg="yellow")
        for problem in report.problems[:shown]:
            click.secho(f"  {problem}", fg="red")
        if len(report.problems) > shown:
            click.secho(f"  … and {len(report.problems) - shown} more", fg="red")
        broken = broken or bool(report.problems)
    if broken:
        raise SystemExit(1)


def _print_outcome(outcome: Outcome, source: str) -> None:
    from mambair.imaging.listing import name_some, printable, resolve_root, survey

    for failure in outcome.failures:
        click.secho(printable(failure), fg="red", err=True)
    left_out = outcome.left_out
    if left_out is None:
        left_out = survey(resolve_root(source)).descriptions()
    for line in left_out:
        click.secho(printable(f"left out: {source}: {line}"), fg="yellow", err=True)
    for line in outcome.left_over:
        click.secho(printable(f"note: {line}"), fg="yellow", err=True)
    if outcome.first_alone:
        line = f"note: {len(outcome.first_alone)} pictures have further pages or frames, which were"
        line = f"{line} not taken: {name_some(outcome.first_alone)}"
        click.secho(printable(line), fg="yellow", err=True)
    kept = f", {outcome.kept} existed already" if outcome.kept else ""
    failed = f", {len(outcome.failures)} failed" if outcome.failures else ""
    click.echo(printable(f"{outcome.output}: {outcome.made} pictures done{kept}{failed}"))
    if outcome.failures:
        raise SystemExit(1)
