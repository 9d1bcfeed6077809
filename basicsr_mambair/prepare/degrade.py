"""Writes low-quality versions of a folder of pictures."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import cv2

from basicsr_mambair.prepare.jobs import (
    Job,
    Outcome,
    Output,
    PrepareError,
    data_set_name,
    run_jobs,
)
from mambair.imaging.errors import PictureError
from mambair.imaging.jpeg import encode_jpeg
from mambair.imaging.listing import list_pictures
from mambair.imaging.reading import decode_picture, read_file, read_header, read_image
from mambair.imaging.resizing import crop_to_multiple, imresize
from mambair.imaging.targets import target_of
from mambair.imaging.writing import write_bytes, write_image


def make_lr(
    source: str | os.PathLike[str],
    scale: int,
    output: str | os.PathLike[str] | None = None,
    hr_output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Outcome:
    """Shrinks every picture bicubically, bit-exact with MATLAB's ``imresize`` on 8 bits.

    A side that is not a multiple of the scale is first cut at the right or bottom ("modcrop").

    Args:
        source: folder of HQ pictures; ``pkg://package/folder`` is a folder of a package.
        scale: integer, at least 2.
        output: folder for ``NAMExSCALE.png``; default ``datasets/DATASET/LR_bicubic/XSCALE``.
        hr_output: folder for the cut HQ pictures, ``NAME.png``; by default they are not written.
        workers: threads; all cores by default.

    Raises:
        PictureError: there is no such folder, or no picture in it.
        PrepareError: see :func:`run_jobs`.
    """
    if scale < 2:
        raise PrepareError(f"scale: must be an integer of at least 2, got {scale}")
    pictures = list_pictures(source, keep_unreadable=True)
    origin = pictures[0].parent
    folder = Path(output or Path("datasets", data_set_name(origin), "LR_bicubic", f"X{scale}"))
    jobs = []
    for path in pictures:
        targets = [target_of(path, folder, f"x{scale}", ".png")]
        if hr_output:
            targets.append(target_of(path, hr_output, extension=".png"))
        jobs.append(Job(path, tuple(targets)))
    outputs = [Output(folder, origin, {"command": "lr", "scale": scale})]
    if hr_output:
        cut = {"command": "lr", "cut to multiples of": scale}
        outputs.append(Output(Path(hr_output), origin, cut))
    return run_jobs(partial(_shrink, scale=scale), jobs, outputs, f"×{scale}", workers)


def _shrink(job: Job, scale: int) -> bool:
    image = crop_to_multiple(read_image(job.source), scale)
    if not image.size:
        raise PictureError(f"{job.source}: is smaller than {scale} pixels")
    for target in job.targets[1:]:
        write_image(image, target)
    write_image(imresize(image, 1 / scale), job.targets[0])
    return read_header(job.source).has_more


def make_jpeg(
    source: str | os.PathLike[str],
    quality: int,
    gray: bool = True,
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Outcome:
    """Compresses every picture by JPEG (libjpeg through OpenCV; color at 4:2:0).

    Args:
        source: folder of HQ pictures; ``pkg://package/folder`` is a folder of a package.
        quality: 1 to 100.
        gray: convert to gray first, as the papers' JPEG tables do; otherwise compress in color.
        output: folder for ``NAME.jpg``; default ``datasets/DATASET/JPEG_QUALITY``, or
            ``JPEG_color_QUALITY``.
        workers: threads; all cores by default.

    Raises:
        PictureError: there is no such folder, or no picture in it.
        PrepareError: see :func:`run_jobs`.
    """
    if not 1 <= quality <= 100:
        raise PrepareError(f"quality: must be between 1 and 100, got {quality}")
    pictures = list_pictures(source, keep_unreadable=True)
    name = f"JPEG_{quality}" if gray else f"JPEG_color_{quality}"
    folder = Path(output or Path("datasets", data_set_name(pictures[0].parent), name))
    jobs = [Job(path, (target_of(path, folder, extension=".jpg"),)) for path in pictures]
    settings = {"command": "jpeg", "quality": quality, "colour": not gray}
    compress = partial(_compress, quality=quality, gray=gray)
    outputs = [Output(folder, pictures[0].parent, settings)]
    return run_jobs(compress, jobs, outputs, f"quality {quality}", workers)


def _compress(job: Job, quality: int, gray: bool) -> bool:
    image = decode_picture(read_file(job.source), str(job.source), gray=gray)
    try:
        write_bytes(encode_jpeg(image, quality), job.targets[0])
    except cv2.error as error:
        raise PictureError(f"{job.source}: cannot be encoded as JPEG: {error}") from error
    return read_header(job.source).has_more
