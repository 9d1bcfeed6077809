"""``basicsr restore``."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option
from basicsr_mambair.cli.interrupted import Interrupted
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import EXTENSIONS, PACKAGE_SCHEME, list_pictures, resolve_root
from mambair.imaging.targets import TargetError, check_targets, comparison_path, target_of
from mambair.inference.tiles import DEFAULT_TILE, TileError, parse_tile
from mambair.inference.weights import OWN_WEIGHTS

if TYPE_CHECKING:
    from mambair.inference.restorer import Restorer
    from mambair.inference.weights import Task

_FORMATS = ("auto", "png", "jpg", "webp", "tif", "bmp")


@dataclass(frozen=True)
class _Job:
    source: Path
    target: Path

    def written(self, compare: bool) -> list[Path]:
        """Returns the files that the job writes."""
        return [self.target, comparison_path(self.target)] if compare else [self.target]


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("restored"),
    show_default=True,
    help="Folder for the restored pictures; it is created.",
)
@click.option(
    "-w",
    "--weights",
    metavar="FILE|NAME",
    help="Weights file (.pth, .safetensors), or the name of an experiment under experiments/ or of "
    "a file in experiments/pretrained_models/. The network is the one that the file names, or is "
    "detected from the weights.  "
    "[default: the small networks that come with this package, by --task and --scale]",
)
@click.option(
    "--task",
    type=click.Choice(list(OWN_WEIGHTS)),
    help="Without --weights: enlarge clean pictures, remove JPEG artifacts, remove noise, or "
    "restore everyday photographs (compressed, a little noisy).  [default: sr]",
)
@click.option(
    "--scale",
    type=click.IntRange(1),
    help="Factor by which to enlarge: 2, 3 or 4 (--task photo: 2 or 4).  [default: 2]",
)
@click.option(
    "--tile",
    default=str(DEFAULT_TILE),
    show_default=True,
    metavar="SIZE|none|authors",
    help="Cut larger pictures into tiles of SIZE input pixels and blend them. 'none' uses "
    "whole pictures, 'authors' cuts them as for the published results.",
)
@click.option("--overlap", type=int, help="Overlap of blended tiles.  [default: 32 pixels]")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(_FORMATS),
    default="auto",
    show_default=True,
    help="File format of the results; 'auto' keeps that of the input.",
)
@click.option(
    "--suffix", default="", metavar="TEXT", help="Text to append to the names of the results."
)
@click.option("--skip-existing", is_flag=True, help="Skip pictures whose results exist already.")
@click.option(
    "--self-ensemble",
    is_flag=True,
    help="Average over the eight orientations: a little better, but takes eight times as long.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]|xpu|mps",
    help="Where to run the network; 'auto' selects the first available of cuda, xpu, mps and cpu.",
)
@click.option(
    "--simulate",
    is_flag=True,
    help="Treat each INPUT as the ground truth: shrink it by the network's scale, restore it, and "
    "print the Y-PSNR of bicubic interpolation and of the result.",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Also write NAME_compare.png: before, bicubic and after, side by side.",
)
@modules_option
def restore(
    inputs: tuple[str, ...],
    output: Path,
    weights: str | None,
    task: Task | None,
    scale: int | None,
    tile: str,
    overlap: int | None,
    file_format: str,
    suffix: str,
    skip_existing: bool,
    self_ensemble: bool,
    device: str,
    simulate: bool,
    compare: bool,
    modules: tuple[str, ...],
) -> None:
    """Restore pictures: files, folders or globs; png, jpg, webp, tif, bmp; 8 or 16 bits.

    Gray pictures stay gray and alpha is kept. If a picture cannot be read, it is reported, the
    others are restored, and the exit status is 1.

    \b
    basicsr restore holiday.jpg --scale 4
    basicsr restore scans/ -o clean --task jpeg
    basicsr restore 'scans/*.tif' -o restored -w quickstart --compare
    """
    import_modules(modules)
    from mambair.inference.device import pick_device
    from mambair.inference.restorer import Restorer
    from mambair.inference.weights import default_weights, find_weights

    try:
        tiling = parse_tile(tile, overlap)
    except TileError as error:
        raise click.BadParameter(str(error), param_hint="--tile / --overlap") from error
    try:
        chosen = pick_device(device)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error
    if weights is not None and task is not None:
        raise click.UsageError("--task chooses weights, and so does --weights; give one of them")
    jobs = _plan_jobs(inputs, output, file_format, suffix, compare)
    if skip_existing:
        jobs = [job for job in jobs if not job.target.exists()]
    path = find_weights(weights) if weights else default_weights(task, scale)
    restorer = Restorer.from_checkpoint(
        path, device=chosen, tiling=tiling, self_ensemble=self_ensemble
    )
    if scale is not None and restorer.scale != scale:
        raise click.UsageError(f"--scale {scale}: {path} enlarges by {restorer.scale}")
    if simulate and restorer.scale == 1:
        raise click.UsageError("--simulate needs a super-resolution network; this one has scale 1")
    failures = _restore_all(jobs, restorer, simulate, compare)
    for failure in failures:
        click.secho(f"not restored: {failure}", fg="red", err=True)
    click.echo(f"{len(jobs) - len(failures)} of {len(jobs)} pictures restored to {output}")
    if failures:
        raise SystemExit(1)


def _plan_jobs(
    inputs: tuple[str, ...], output: Path, file_format: str, suffix: str, compare: bool
) -> list[_Job]:
    """Pairs every input with its result; reports impossible ones before any work begins."""
    jobs: list[_Job] = []
    for source in dict.fromkeys(path for item in inputs for path in _expand(item)):
        extension = source.suffix if file_format == "auto" else f".{file_format}"
        if extension.lower() not in EXTENSIONS:
            formats = ", ".join(EXTENSIONS)
            raise click.UsageError(f"{source}: cannot be written as {extension!r}, only {formats}")
        jobs.append(_Job(source, target_of(source, output, suffix, extension)))
    try:
        check_targets((job.source, job.written(compare)) for job in jobs)
    except TargetError as error:
        raise click.UsageError(f"{error} (-o)") from error
    return jobs


def _expand(item: str) -> list[Path]:
    """Expands an argument: a file, the pictures of a folder, or the matches of a glob."""
    if not item.startswith(PACKAGE_SCHEME) and not Path(item).expanduser().exists():
        matches = sorted(glob.glob(os.path.expanduser(item), recursive=True))
        paths = [Path(match) for match in matches if match.lower().endswith(EXTENSIONS)]
        if not paths:
            raise PictureError(f"{item}: no such file, folder or pattern")
        return paths
    path = resolve_root(item)
    return list_pictures(path) if path.is_dir() else [path]


def _restore_all(jobs: list[_Job], restorer: Restorer, simulate: bool, compare: bool) -> list[str]:
    """Runs the jobs under a progress bar; returns one line for each picture that failed."""
    from tqdm import tqdm

    from mambair.inference.file_to_file import restore_file

    failures = []
    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left"
    with tqdm(total=len(jobs), bar_format=layout, dynamic_ncols=True) as bar:

        def advance(share: float) -> None:
            bar.update(min(share, len(jobs) - bar.n))  # rounding may bring the sum above the total

        for number, job in enumerate(jobs, start=1):
            bar.set_description(f"{job.source.name} ({number}/{len(jobs)})")
            try:
                report = restore_file(
                    restorer,
                    job.source,
                    job.target,
                    simulate=simulate,
                    compare=compare,
                    progress=advance,
                )
            except KeyboardInterrupt:
                bar.close()
                done = f"interrupted; {number - 1} of {len(jobs)} pictures are done"
                raise Interrupted(f"{done}. --skip-existing continues.") from None
            except MemoryError:
                failures.append(f"{job.source}: not enough memory; try --tile 128")
            except PictureError as error:
                failures.append(str(error))
            except Exception as error:  # the other pictures are still restored
                failures.append(f"{job.source}: {type(error).__name__}: {error}")
            else:
                if report:
                    bar.write(report)
            bar.n = number  # fractions of tiles do not add up exactly
            bar.refresh()
    return failures
