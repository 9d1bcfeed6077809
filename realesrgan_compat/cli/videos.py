"""``realesrgan-mambair-video``: the flags of Real-ESRGAN's ``inference_realesrgan_video.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from packaging.version import Version

from mambair.errors import UserError
from mambair.imaging.listing import resolve_root
from mambair.imaging.targets import check_targets, target_of
from realesrgan_compat.cli.command import (
    Command,
    FiniteRange,
    InterruptedCommand,
    run_command,
    say,
)
from realesrgan_compat.cli.file_options import file_options, without_existing
from realesrgan_compat.cli.model_options import ModelChoice, model_options

if TYPE_CHECKING:
    from realesrgan_compat.enhancer import Enhancer
    from realesrgan_compat.video.restoring import VideoOptions

_LEAST_PYAV = Version("18")
_IGNORED = {
    "extract_frame_first": "frames are never stored",
    "num_process_per_gpu": "one process runs",
    "ffmpeg_bin": "PyAV brings ffmpeg along",
    "ext": "frames are never stored",
}


@dataclass(frozen=True)
class _Job:
    source: Path
    target: Path

    def targets(self) -> list[Path]:
        """Returns the file that the job writes."""
        return [self.target]


def _rate(ctx: click.Context, param: click.Parameter, value: str | None) -> Fraction | None:
    """Frames in a second: 30, 29.97 or 30000/1001."""
    if value is None:
        return None
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise click.BadParameter(f"{value!r} is not a rate such as 30, 29.97 or 30000/1001")
    return rate.limit_denominator(1001)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@file_options("video")
@model_options(default="realesr-animevideov3")
@click.option(
    "--fps",
    callback=_rate,
    metavar="RATE",
    help="Show frames at a fixed rate, with the same length: some are repeated or dropped.  "
    "[default: when the source shows them]",
)
@click.option(
    "--container",
    type=click.Choice(["auto", "mp4", "mkv", "mov"]),
    default="auto",
    show_default=True,
    help="Format of the results; 'auto' is mp4, or mkv if mp4 cannot hold the sound.",
)
@click.option(
    "--crf",
    type=FiniteRange(0, 51),
    default=18,
    show_default=True,
    help="Quality of H.264; less is better, and larger.",
)
@click.option("--preset", default="medium", show_default=True, help="Speed of the encoder (x264).")
@click.option(
    "--part",
    "part_length",
    type=click.IntRange(1),
    default=48,
    show_default=True,
    help="Frames after which the work so far is kept; a kill costs at most these.",
)
@click.option("--restart", is_flag=True, help="Throw away what a run that was stopped has left.")
@click.option("--ffmpeg_bin", hidden=True)
@click.option("--extract_frame_first", is_flag=True, hidden=True)
@click.option("--num_process_per_gpu", type=int, hidden=True)
@click.option("--ext", hidden=True)
def videos(
    source: str,
    output: Path,
    suffix: str,
    fps: Fraction | None,
    container: str,
    crf: float,
    preset: str,
    part_length: int,
    restart: bool,
    overwrite: bool,
    skip_existing: bool,
    ffmpeg_bin: str | None,
    extract_frame_first: bool,
    num_process_per_gpu: int | None,
    ext: str | None,
    **model: Any,
) -> None:
    """Enlarge videos, with the flags of Real-ESRGAN's inference_realesrgan_video.py.

    Sound is copied. Frames are not stored; a run that was stopped goes on when the same command is
    given again.

    \b
    realesrgan-mambair-video -i film.mp4 -n tiny_x2
    """
    _check_pyav()
    from realesrgan_compat.video.restoring import VideoOptions, check_video

    for name, given in (
        ("ffmpeg_bin", ffmpeg_bin),
        ("extract_frame_first", extract_frame_first),
        ("num_process_per_gpu", num_process_per_gpu),
        ("ext", ext),
    ):
        if given:
            say(f"--{name} is ignored: {_IGNORED[name]}")
    jobs = _plan(source, output, suffix, container)
    jobs = without_existing(jobs, _Job.targets, overwrite, skip_existing)
    for job in jobs:
        for note in check_video(job.source, job.target):
            say(note)
    options = VideoOptions(fps, crf, preset, part_length, restart)
    enhancer = ModelChoice(**model).build(say) if jobs else None
    failures = [] if enhancer is None else _restore_all(jobs, enhancer, options)
    for failure in failures:
        click.secho(f"not enlarged: {failure}", fg="red", err=True)
    click.echo(f"{len(jobs) - len(failures)} of {len(jobs)} videos enlarged to {output}")
    if failures:
        raise SystemExit(1)


def _check_pyav() -> None:
    try:
        found = Version(version("av"))
    except PackageNotFoundError:
        found = None
    if found is None or found < _LEAST_PYAV:
        has = "is not installed" if found is None else f"is here in version {found}"
        raise UserError(
            f"videos need the package av, {_LEAST_PYAV} or later, which {has}: pip install "
            "'basicsr-mambair[video]' (Python 3.11 or later)"
        )


def _plan(item: str, output: Path, suffix: str, container: str) -> list[_Job]:
    """Pairs every video with its result; what cannot be is reported before any work."""
    from realesrgan_compat.video.joining import copied_streams
    from realesrgan_compat.video.source import EXTENSIONS

    root = resolve_root(item)
    sources = [root]
    if root.is_dir():
        entries = sorted(each for each in root.iterdir() if not each.name.startswith("."))
        sources = [each for each in entries if each.suffix.lower() in EXTENSIONS]
        others = [each.name for each in entries if each not in sources]
        if others:
            say(f"{root}: left out: {', '.join(others)}")
        if not sources:
            raise UserError(f"{root}: no video in this folder ({', '.join(EXTENSIONS)})")
    jobs = []
    for source in sources:
        extension = f".{container}"
        if container == "auto":
            extension = ".mkv" if copied_streams(source, ".mp4").sound_is_left_out else ".mp4"
            if extension == ".mkv":
                say(f"{source}: becomes .mkv, because .mp4 cannot hold its sound")
        jobs.append(_Job(source, target_of(source, output, suffix and f"_{suffix}", extension)))
    check_targets((job.source, job.targets()) for job in jobs)
    return jobs


def _restore_all(jobs: Sequence[_Job], enhancer: Enhancer, options: VideoOptions) -> list[str]:
    """Runs the jobs under progress bars; returns one line for each video that failed."""
    from tqdm import tqdm

    from realesrgan_compat.video.restoring import parts_folder, restore_video

    failures = []
    for job in jobs:
        with tqdm(desc=job.source.name, unit="frame", dynamic_ncols=True) as bar:

            def advance(done: int, total: int, bar: Any = bar) -> None:
                if bar.total is None:
                    bar.initial = bar.n = done  # the time left is that of this run's frames
                bar.total = total
                bar.update(done - bar.n)

            try:
                notes = restore_video(job.source, job.target, enhancer, options, advance)
            except KeyboardInterrupt:
                bar.close()
                raise InterruptedCommand(
                    f"interrupted; what is done of {job.source} lies in "
                    f"{parts_folder(job.target)}, and the same command goes on"
                ) from None
            except UserError as error:
                failures.append(str(error))
                continue
        for note in notes:
            say(note)
    return failures


def run() -> None:
    """Runs the command line of this process."""
    run_command(videos)
