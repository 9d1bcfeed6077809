"""``basicsr restore``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option
from basicsr_mambair.cli.interrupted import Interrupted
from basicsr_mambair.cli.launcher_option import launcher_option
from basicsr_mambair.training.share import local_device, shared
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS
from mambair.imaging.listing import printable
from mambair.imaging.targets import TargetError, comparison_path
from mambair.inference.tiles import DEFAULT_TILE, TileError, parse_tile
from mambair.inference.weights import OWN_WEIGHTS

if TYPE_CHECKING:
    from mambair.inference.planning import Destination, Job, Plan
    from mambair.inference.records import Records, Settings
    from mambair.inference.restorer import Restorer
    from mambair.inference.weights import Task

_FORMATS = ("auto", *(each.name for each in FORMATS))


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER|FILE",
    type=click.Path(),
    help="Folder for the restored pictures; it is created. For a single picture also a file, whose "
    "extension names the format.  [default: restored/NAME, with the name of the weights]",
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
    help="Without --weights: enlarge clean pictures, remove JPEG artifacts, remove Gaussian noise "
    "or the noise of a camera, or restore everyday photographs (compressed, a little noisy).  "
    "[default: sr]",
)
@click.option(
    "--scale",
    type=click.IntRange(1),
    help="Factor by which to enlarge: 2, 3 or 4; with --task photo 2, 4, or 1 to clean only.  "
    "[default: 2]",
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
@click.option(
    "-r", "--recursive", is_flag=True, help="Include the sub-folders of folders; the tree is kept."
)
@click.option(
    "--skip-existing",
    is_flag=True,
    help="Skip pictures whose results exist: of the same picture, weights and settings.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace files in the output folder even if they are not results of the same pictures and "
    "weights.",
)
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
@launcher_option
@modules_option
def restore(
    inputs: tuple[str, ...],
    output: str | None,
    weights: str | None,
    task: Task | None,
    scale: int | None,
    tile: str,
    overlap: int | None,
    file_format: str,
    suffix: str,
    recursive: bool,
    skip_existing: bool,
    overwrite: bool,
    self_ensemble: bool,
    device: str,
    simulate: bool,
    compare: bool,
    launcher: str,
    modules: tuple[str, ...],
) -> None:
    """Restore pictures: files, folders or globs; png, jpg, webp, tif, bmp, avif, gif, heic.

    Depth (8 or 16 bits), gray, transparency, color profile, EXIF, XMP and resolution are kept, and
    so are the pages of TIFFs and the frames of animations. What a format cannot hold, and what is
    left out of a folder, is said. If a picture cannot be read, it is reported, the others are
    restored, and the exit status is 1.

    \b
    basicsr restore holiday.jpg --scale 4
    basicsr restore holiday.jpg -o larger.png
    basicsr restore scans/ -o clean --task jpeg
    basicsr restore 'scans/*.tif' -o restored -w quickstart --compare
    torchrun --nproc_per_node=4 -m basicsr_mambair restore photos/ --launcher pytorch
    """
    import_modules(modules)
    _silence_decoders()
    from mambair.inference.device import pick_device
    from mambair.inference.planning import plan_jobs
    from mambair.inference.records import Records, Settings, digest_of
    from mambair.inference.restorer import Restorer
    from mambair.inference.sources import find_sources
    from mambair.inference.weights import default_weights, find_weights, name_of_weights

    try:
        tiling = parse_tile(tile, overlap)
    except TileError as error:
        raise click.BadParameter(str(error), param_hint="--tile / --overlap") from error
    try:
        chosen = pick_device(device if launcher == "none" else local_device(device))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error
    if weights is not None and task is not None:
        raise click.UsageError("--task chooses weights, and so does --weights; give one of them")
    if skip_existing and overwrite:
        raise click.UsageError("--skip-existing and --overwrite contradict each other")
    path = find_weights(weights) if weights else default_weights(task, scale)
    name = name_of_weights(path)
    if output is None:
        output = str(Path("restored", f"{name}_simulated" if simulate else name))
    destination = _destination(output, file_format, suffix)
    sources, left_out, failures = find_sources(inputs, destination.folder, recursive)
    restorer = Restorer.from_checkpoint(
        path, device=chosen, tiling=tiling, self_ensemble=self_ensemble
    )
    if scale is not None and restorer.scale != scale:
        raise click.UsageError(f"--scale {scale}: {path} enlarges by {restorer.scale}")
    if simulate and restorer.scale == 1:
        raise click.UsageError("--simulate needs a super-resolution network; this one has scale 1")
    settings = Settings(
        name, digest_of(path), restorer.scale, simulate, f"{tiling}, ensemble: {self_ensemble}"
    )
    try:
        plan = plan_jobs(
            sources,
            destination,
            scale=restorer.scale,
            tiling=tiling,
            settings=settings,
            extension=None if file_format == "auto" else f".{file_format}",
            suffix=suffix,
            compare=compare,
            skip_existing=skip_existing,
            overwrite=overwrite,
        )
    except TargetError as error:
        raise click.UsageError(str(error)) from error
    plan.failures[:0] = failures
    plan.left_out[:0] = left_out
    with shared(launcher, "--skip-existing continues") as share:
        if share.rank == 0:
            _print_lines(f"cannot be restored: {each}" for each in plan.failures if plan.jobs)
        share.meet()  # nobody writes while another process plans
        mine = replace(plan, jobs=share.part(plan.jobs), failures=[])
        own = _restore_all(
            mine,
            restorer,
            settings,
            Records(destination.folder),
            simulate,
            compare,
            share.rank == 0,
        )
        parts = share.collect((own, mine.failures))
    if parts is None:  # the first process tells what all have done
        return
    outcome = _Outcome()
    for each, more in parts:
        outcome.add(each)
        plan.failures += more
    _print_outcome(plan, outcome, destination)
    if plan.failures:
        raise SystemExit(1)


def _destination(output: str, file_format: str, suffix: str) -> Destination:
    """Where the results go, according to ``-o``, ``--format`` and ``--suffix``."""
    from mambair.inference.planning import Destination

    try:
        destination = Destination.of(output)
    except PictureError as error:
        raise click.BadParameter(str(error), param_hint="--output") from error
    if destination.name is not None:
        for option, is_given in (("--format", file_format != "auto"), ("--suffix", suffix)):
            if is_given:
                raise click.UsageError(
                    f"-o {output} names the file, and so does {option}; give one of them, or name "
                    "a folder (-o)"
                )
    return destination


def _silence_decoders() -> None:
    """What is wrong with a picture is said once, with its name; decoders add lines without."""
    import warnings

    import cv2

    warnings.filterwarnings("ignore", module="PIL")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass
class _Outcome:
    """What is to be said at the end."""

    restored: int = 0
    notes: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, other: _Outcome) -> None:
        """Adds what another process has done."""
        self.restored += other.restored
        for note, pictures in other.notes.items():
            self.notes.setdefault(note, []).extend(pictures)


def _print_lines(lines: Iterable[str], color: str = "red") -> None:
    for line in lines:
        click.secho(printable(line), fg=color, err=True)


def _print_outcome(plan: Plan, outcome: _Outcome, output: Destination) -> None:
    from mambair.inference.planning import summarize_notes

    _print_lines(f"not restored: {each}" for each in plan.failures)
    _print_lines((f"note: {each}" for each in summarize_notes(outcome.notes)), "yellow")
    _print_lines((f"left out: {each}" for each in plan.left_out), "yellow")
    total = outcome.restored + len(plan.failures)
    there = ""
    if plan.present:
        there = f"; {plan.present} {'was' if plan.present == 1 else 'were'} there already"
    click.echo(printable(f"{outcome.restored} of {total} pictures restored to {output}{there}"))


def _restore_all(
    plan: Plan,
    restorer: Restorer,
    settings: Settings,
    records: Records,
    simulate: bool,
    compare: bool,
    shows_progress: bool,
) -> _Outcome:
    """Runs the jobs under a progress bar; adds to the failures of the plan."""
    from tqdm import tqdm

    from mambair.inference.file_to_file import restore_file

    jobs = list(plan.jobs)
    outcome = _Outcome()
    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left"
    # By pixels, and at the mean speed so far: pictures of other sizes do not change the time left.
    with tqdm(
        total=sum(job.work for job in jobs),
        bar_format=layout,
        dynamic_ncols=True,
        smoothing=0,
        disable=not jobs or not shows_progress,
    ) as bar:
        for number, job in enumerate(jobs, start=1):
            bar.set_description(printable(f"{job.source.name} ({number}/{len(jobs)})"))
            begun = bar.n

            def advance(fraction: float, job: Job = job) -> None:
                bar.update(min(fraction * job.work, (bar.total or 0) - bar.n))  # floats round

            try:
                restored = restore_file(
                    restorer,
                    job.source,
                    job.target,
                    simulate=simulate,
                    compare=compare,
                    progress=advance,
                )
                written = [job.target, *([comparison_path(job.target)] if compare else [])]
                records.add(written, job.state, settings)
            except KeyboardInterrupt:
                bar.close()
                done = f"interrupted; {number - 1} of {len(jobs)} pictures are done"
                raise Interrupted(f"{done}. --skip-existing continues.") from None
            except MemoryError:
                plan.failures.append(f"{job.source}: not enough memory; try --tile 128")
            except PictureError as error:
                plan.failures.append(str(error))
            except Exception as error:  # the other pictures are still restored
                plan.failures.append(f"{job.source}: {type(error).__name__}: {error}")
            else:
                outcome.restored += 1
                if restored.report:
                    bar.write(printable(restored.report))
                for note in restored.notes:
                    outcome.notes.setdefault(note, []).append(job.source)
                bar.n = begun + job.work  # fractions of tiles do not add up exactly
                bar.refresh()
                continue
            plan.jobs.remove(job)
            # What failed is no work any more.
            bar.total = (bar.total or 0) - (begun + job.work - bar.n)
            bar.refresh()
    return outcome
