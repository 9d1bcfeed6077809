"""Makes training data of SIDD's photographs, and pictures of its validation blocks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from basicsr_mambair.prepare.crops import Squares
from basicsr_mambair.prepare.jobs import Job, Outcome, Output, map_in_parallel, run_jobs
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import name_some, resolve_root, survey
from mambair.imaging.matlab.sidd import SiddBlocks, check_blocks_match
from mambair.imaging.pairs import check_pair_size
from mambair.imaging.reading import picture_size
from mambair.imaging.writing import write_image

# In the names of SIDD's pictures: 0001_GT_SRGB_010.PNG beside 0001_NOISY_SRGB_010.PNG.
_TRUE, _NOISY = "_GT_SRGB", "_NOISY_SRGB"
# Folders, and the files of blocks that become pictures in them.
_TARGETS, _INPUTS = "target_crops", "input_crops"
_BLOCKS = {_TARGETS: "ValidationGtBlocksSrgb.mat", _INPUTS: "ValidationNoisyBlocksSrgb.mat"}


@dataclass(frozen=True)
class _Pair:
    """A true and a noisy photograph of the same scene."""

    true: Path
    noisy: Path


def make_sidd_crops(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    size: int = 512,
    step: int = 384,
    threshold: int = 0,
    workers: int | None = None,
) -> Outcome:
    """Cuts the pairs of SIDD-Medium (sRGB) into squares, which training reads.

    Args:
        source: folder of the photographs, as SIDD is unpacked; sub-folders are looked into.
        output: ``train/target_crops`` and ``train/input_crops`` in it hold true and noisy squares,
            under the same names.
        size: side of a square, in pixels.
        step: distance between squares. Squares of 512 pixels, 384 apart, overlap by 128, as in the
            training that MambaIR's follows (Restormer's).
        threshold: remaining pixels at a border that do not get a square of their own.
        workers: threads; all cores by default.

    Raises:
        PictureError: there is no such folder, or no pair in it.
        PrepareError: a number is out of range; or see :func:`run_jobs`.
    """
    squares = Squares(size, step, threshold)
    root, train = resolve_root(source), Path(output, "train")
    settings = {"command": "sidd", "size": size, "step": step, "threshold": threshold}
    outputs = [Output(train / folder, root, settings) for folder in (_INPUTS, _TARGETS)]
    for each in outputs:
        each.check()
    pairs, alone, others = _find_pairs(root, train)

    def plan(pair: _Pair) -> list[Job]:
        sides = picture_size(pair.true)
        noisy_sides = picture_size(pair.noisy)
        check_pair_size(str(pair.true), sides, str(pair.noisy), noisy_sides, 1, exactly=True)
        name = pair.true.stem.replace(_TRUE, "_SRGB")
        return [
            squares.job(path, sides, train / folder, name)
            for path, folder in ((pair.true, _TARGETS), (pair.noisy, _INPUTS))
        ]

    jobs, failures = [], [f"{path}: has no partner {partner.name}" for path, partner in alone]
    for result in map_in_parallel(plan, pairs, "sizes", workers):
        if isinstance(result.error, PictureError):
            failures.append(str(result.error))
        elif result.error is not None:
            raise result.error
        elif result.value is not None:
            jobs += result.value
    jobs.sort(key=lambda job: job.source)
    outcome = run_jobs(squares.cut, jobs, outputs, f"{size}×{size}", workers)
    outcome.output = train
    outcome.failures += failures
    outcome.left_out = others
    return outcome


def _find_pairs(root: Path, train: Path) -> tuple[list[_Pair], list[tuple[Path, Path]], list[str]]:
    """Returns the pairs; pictures without their partner, and its path; what is left out."""
    if not root.is_dir():
        raise PictureError(f"{root}: is not a folder")
    found = survey(root, recursive=True, without=train)
    pairs, alone = [], []
    named = {path for path in found.pictures if _TRUE in path.stem or _NOISY in path.stem}
    for path in sorted(named):
        if _TRUE in path.stem:
            partner = path.with_name(path.name.replace(_TRUE, _NOISY))
        else:
            partner = path.with_name(path.name.replace(_NOISY, _TRUE))
        if partner not in named:
            alone.append((path, partner))
        elif _TRUE in path.stem:
            pairs.append(_Pair(path, partner))
    if not pairs:
        raise PictureError(
            f"{root}: no pair of pictures whose names hold {_TRUE} and {_NOISY}, as SIDD's do"
        )
    others = [path for path in found.pictures if path not in named]
    lines = found.descriptions() + [f"{path}: {why}" for path, why in found.unreadable.items()]
    if others:
        lines.append(f"{len(others)} pictures that are not SIDD's: {name_some(others)}")
    return pairs, alone, lines


def make_sidd_blocks(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    workers: int | None = None,
) -> Outcome:
    """Writes SIDD's validation blocks as PNG pictures; measuring does not need them.

    Args:
        source: folder of ``ValidationGtBlocksSrgb.mat`` and ``ValidationNoisyBlocksSrgb.mat``.
        output: ``val/target_crops`` and ``val/input_crops`` in it hold ``0001_01.png``, ….
        workers: threads; all cores by default.

    Raises:
        PictureError: a file is missing or holds something else; names file and variable.
        PrepareError: see :func:`run_jobs`.
    """
    root, val = resolve_root(source), Path(output, "val")
    blocks = {folder: SiddBlocks(root / name) for folder, name in _BLOCKS.items()}
    check_blocks_match(blocks[_TARGETS], blocks[_INPUTS])
    places = {
        val / folder / f"{name}.png": (each, index)
        for folder, each in blocks.items()
        for index, name in enumerate(each.names)
    }

    def unpack(job: Job) -> bool:
        (target,) = job.targets
        each, index = places[target]
        write_image(each.read(index), target)
        return False

    jobs = [Job(each.path, (target,)) for target, (each, _) in places.items()]
    outputs = [Output(val / folder, root, {"command": "sidd blocks"}) for folder in blocks]
    outcome = run_jobs(unpack, jobs, outputs, "blocks", workers)
    outcome.output, outcome.left_out = val, []
    return outcome
