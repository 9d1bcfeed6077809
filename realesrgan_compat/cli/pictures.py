"""``realesrgan-mambair``: the flags of Real-ESRGAN's ``inference_realesrgan.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mambair.errors import listed
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS_BY_EXTENSION, readable_extensions
from mambair.imaging.listing import list_pictures, resolve_root
from mambair.imaging.targets import check_targets, target_of
from realesrgan_compat.cli.command import (
    Command,
    InterruptedCommand,
    run_command,
    say,
)
from realesrgan_compat.cli.file_options import file_options, without_existing
from realesrgan_compat.cli.model_options import ModelChoice, model_options

if TYPE_CHECKING:
    from mambair.imaging.pixels import Pixels
    from realesrgan_compat.enhancer import Enhancer

_ALPHA_EXTENSION = ".png"  # of every result with alpha, as in the original


@dataclass(frozen=True)
class _Job:
    source: Path
    target: Path

    def target_with_alpha(self) -> Path:
        """Returns the path of the result if the picture has alpha."""
        if self.target.suffix.lower() == _ALPHA_EXTENSION:
            return self.target
        return self.target.with_suffix(_ALPHA_EXTENSION)

    def possible_targets(self) -> list[Path]:
        """Returns the files that the job may write."""
        form = FORMATS_BY_EXTENSION.get(self.source.suffix.lower())
        may_have_alpha = form is None or form.alpha
        return list(
            dict.fromkeys([self.target, *([self.target_with_alpha()] if may_have_alpha else [])])
        )


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@file_options("picture")
@model_options(default="RealESRGAN_x4plus")
@click.option(
    "--ext",
    type=click.Choice(["auto", "jpg", "png", "webp", "tif", "bmp"]),
    default="auto",
    show_default=True,
    help="Format of the results; 'auto' keeps that of the input. Results with alpha are PNG.",
)
def pictures(
    source: str,
    output: Path,
    suffix: str,
    ext: str,
    overwrite: bool,
    skip_existing: bool,
    **model: Any,
) -> None:
    """Enlarge pictures, with the flags of Real-ESRGAN's inference_realesrgan.py.

    Takes the models of Real-ESRGAN and those of this package. If a picture cannot be read, it is
    reported, the others are enlarged, and the exit status is 1.

    \b
    realesrgan-mambair -i photo.jpg -n tiny_x4
    realesrgan-mambair -i inputs -o results --model_path my_mambair.pth -s 2 -t 256
    """
    jobs = _plan(source, output, suffix, ext)
    jobs = without_existing(jobs, _Job.possible_targets, overwrite, skip_existing)
    enhancer = ModelChoice(**model).build(say) if jobs else None
    failures = _enhance_all(jobs, enhancer) if enhancer is not None else []
    for failure in failures:
        click.secho(f"not enlarged: {failure}", fg="red", err=True)
    click.echo(f"{len(jobs) - len(failures)} of {len(jobs)} pictures enlarged to {output}")
    if failures:
        raise SystemExit(1)


def _plan(item: str, output: Path, suffix: str, ext: str) -> list[_Job]:
    """Pairs every picture with its result; what cannot be is reported before any work."""
    root = resolve_root(item)
    sources = list_pictures(root) if root.is_dir() else [root]
    if root.is_dir():
        _name_left_out(root, sources)
    jobs = []
    for source in sources:
        extension = source.suffix if ext == "auto" else f".{ext}"
        jobs.append(_Job(source, target_of(source, output, suffix and f"_{suffix}", extension)))
    check_targets((job.source, job.possible_targets()) for job in jobs)
    return jobs


def _name_left_out(folder: Path, sources: Sequence[Path]) -> None:
    taken = {path.name for path in sources}
    others = sorted(
        path.name + "/" * path.is_dir()
        for path in folder.iterdir()
        if path.name not in taken and not path.name.startswith(".")
    )
    if others:
        readable = ", ".join(readable_extensions())
        say(f"{folder}: left out: {listed(others, shown=5)} (pictures are {readable})")


def _enhance_all(jobs: Sequence[_Job], enhancer: Enhancer) -> list[str]:
    """Runs the jobs under a progress bar; returns one line for each picture that failed."""
    from tqdm import tqdm

    failures = []
    with tqdm(total=len(jobs), dynamic_ncols=True, unit="picture") as bar:
        for number, job in enumerate(jobs):
            bar.set_description(job.source.name)
            try:
                _enhance(job, enhancer)
            except KeyboardInterrupt:
                bar.close()
                raise InterruptedCommand(
                    f"interrupted; {number} of {len(jobs)} pictures are done; --skip-existing "
                    "goes on"
                ) from None
            except PictureError as error:
                text = str(error)
                named = str(job.source) in text or str(job.target) in text
                failures.append(text if named else f"{job.source}: {text}")
            except Exception as error:  # the other pictures are still enlarged
                failures.append(f"{job.source}: {type(error).__name__}: {error}")
            bar.update()
    return failures


def _enhance(job: _Job, enhancer: Enhancer) -> None:
    from mambair.imaging.reading import read_header, read_image
    from mambair.imaging.writing import write_image

    frames = len(read_header(job.source).sizes)
    if frames > 1:
        raise PictureError(
            f"{job.source}: has {frames} pages or frames; 'basicsr restore' takes all of them"
        )
    picture = read_image(job.source)
    result = enhancer(picture)
    _say_what_faces_cost(job, picture, enhancer)
    has_alpha = result.ndim == 3 and result.shape[2] in (2, 4)
    write_image(result, job.target_with_alpha() if has_alpha else job.target)


def _say_what_faces_cost(job: _Job, picture: Pixels, enhancer: Enhancer) -> None:
    """GFPGAN returns 8 bits and colors alone."""
    if enhancer.faces is None:
        return
    lost = []
    if picture.dtype.itemsize > 1:
        lost.append("16 bits")
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        lost.append("alpha")
    if lost:
        say(f"{job.source}: --face_enhance loses {' and '.join(lost)}")


def run() -> None:
    """Runs the command line of this process."""
    run_command(pictures)
