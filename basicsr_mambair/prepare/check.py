"""Compares the data that an option file needs with the files that exist.

BasicSR is needed only for data in an LMDB or in MATLAB files, which its datasets read. Without it,
less of the option file is checked.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basicsr_mambair.options import OptionError, load_any_options
from basicsr_mambair.options.errors import Problem
from basicsr_mambair.prepare.jobs import map_in_parallel
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import as_list, list_pictures, name_some
from mambair.imaging.pairs import (
    adds_noise,
    check_crop,
    check_pair_options,
    check_pair_size,
    find_partner,
    read_meta_info,
)
from mambair.imaging.reading import PictureHeader, decode_picture, read_file, read_header

# Number of pictures in each set as the papers use it.
USUAL_COUNTS = {
    "Set5": 5,
    "Set12": 12,
    "Set14": 14,
    "B100": 100,
    "Urban100": 100,
    "Manga109": 109,
    "Classic5": 5,
    "LIVE1": 29,
    "CBSD68": 68,
    "BSD68": 68,
    "Kodak24": 24,
    "McMaster": 18,
    "DIV2K": 800,
    "Flickr2K": 2650,
    "BSD500": 400,
    "WED": 4744,
}
# Datasets that read no folders of pictures.
_OF_MATLAB = ("SIDDBlocksDataset", "DNDDataset")


@dataclass
class DatasetReport:
    """The findings about a dataset section.

    Attributes:
        name: key and name of the section.
        pictures: number of GT pictures.
        pairs: number of GT pictures with a matching LQ partner, or whose LQ is computed.
        notes: findings that are unusual but harmless.
        problems: findings that would stop training or testing.
    """

    name: str
    pictures: int = 0
    pairs: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_option_file(
    path: str | os.PathLike[str], decode: bool = False, workers: int | None = None
) -> list[DatasetReport]:
    """Looks for every picture that an option file needs.

    Args:
        path: a train or test option file.
        decode: decode every picture instead of reading its header, to find damaged ones.
        workers: threads; all cores by default.

    Returns:
        One report for each dataset section; nothing is written.

    Raises:
        OptionError: the option file is invalid.
    """
    options = load_any_options(path)
    has_basicsr = importlib.util.find_spec("basicsr") is not None
    reports = []
    for key, section in _sections(options, path).items():
        report = DatasetReport(f"{key} ({section.get('name', key)})")
        completed = {
            **section,
            "phase": key.split("_")[0],
            "scale": int(options.get("scale", 1)),
        }
        try:
            if not has_basicsr:
                _check_options(completed)
            _check_section(completed, report, decode, workers)
        except PictureError as error:
            report.problems.append(str(error))
        reports.append(report)
    return reports


def _sections(
    options: Mapping[str, Any], path: str | os.PathLike[str]
) -> Mapping[str, Mapping[str, Any]]:
    """The dataset sections. With BasicSR, loading has checked that they are sections."""
    sections = options.get("datasets")
    if not isinstance(sections, Mapping):
        raise OptionError(
            Problem(("datasets",), "must be a section with a dataset each", str(path))
        )
    for key, section in sections.items():
        if not isinstance(section, Mapping):
            raise OptionError(Problem(("datasets", key), "must be a section", str(path)))
    return sections


def _check_options(section: Mapping[str, Any]) -> None:
    """Without BasicSR, its registry of datasets checks no section when the file is loaded."""
    try:
        if str(section.get("type", "")).endswith("PairedImageDataset"):
            check_pair_options(section)
        if not as_list(section.get("dataroot_gt")):
            raise ValueError("dataroot_gt: must be a folder or a list of folders")
        check_crop(section)
    except ValueError as error:
        raise PictureError(str(error)) from error


def _check_section(
    section: Mapping[str, Any], report: DatasetReport, decode: bool, workers: int | None
) -> None:
    is_lmdb = (section.get("io_backend") or {}).get("type", "disk") == "lmdb"
    if is_lmdb or section.get("type") in _OF_MATLAB:
        _check_by_reading(section, report, "an LMDB" if is_lmdb else "MATLAB's files")
        return
    pairs = _find_pairs(section, report)

    def look_at(pair: tuple[Path, Path | None]) -> list[Path]:
        gt, lq = pair
        headers = [(each, read_header(each)) for each in pair if each is not None]
        sizes = [_size(path, header, decode) for path, header in headers]
        if lq is not None:
            exactly = section["phase"] == "train"
            check_pair_size(str(gt), sizes[0], str(lq), sizes[1], section["scale"], exactly)
        least = section.get("gt_size")
        if section["phase"] == "train" and least and min(sizes[0][:2]) < least:
            raise PictureError(
                f"{gt}: is smaller than the training crop of {least} pixels (gt_size)"
            )
        return [path for path, header in headers if header.has_more]

    first_alone: list[Path] = []
    for result in map_in_parallel(look_at, pairs, report.name, workers):
        first_alone += result.value or []
        if result.error is None:
            report.pairs += 1
        else:
            report.problems.append(str(result.error))
    if first_alone:
        report.notes.append(
            f"{len(first_alone)} pictures have further pages or frames, which are not read: "
            f"{name_some(first_alone)}"
        )


def _find_pairs(
    section: Mapping[str, Any], report: DatasetReport
) -> list[tuple[Path, Path | None]]:
    """The pairs that the dataset would read; adds notes and problems to the report."""
    template = section.get("filename_tmpl", "{}")
    # The denoising tasks make LQ themselves, whatever else the section names.
    lq_roots = [] if adds_noise(section) else as_list(section.get("dataroot_lq"))
    pairs: list[tuple[Path, Path | None]] = []
    for index, root in enumerate(as_list(section.get("dataroot_gt"))):
        try:
            paths = _gt_pictures(section, str(root))
        except PictureError as error:
            report.problems.append(str(error))
            continue
        report.pictures += len(paths)
        _compare_count(str(root), len(paths), section, report)
        lq_root = lq_roots[index] if index < len(lq_roots) else None
        if lq_root is None:
            pairs += [(gt, None) for gt in paths]
        elif not Path(lq_root).expanduser().is_dir():
            report.problems.append(f"{lq_root}: the folder does not exist")
        else:
            pairs += _pair_up(paths, str(root), str(lq_root), template, report)
    return pairs


def _gt_pictures(section: Mapping[str, Any], root: str) -> list[Path]:
    meta_info = section.get("meta_info_file")
    if meta_info:
        return [Path(root) / name for name in read_meta_info(meta_info)]
    return list_pictures(
        root,
        as_list(section.get("include", "*")),
        as_list(section.get("exclude")),
        keep_unreadable=True,
    )


def _pair_up(
    paths: list[Path], root: str, lq_root: str, template: str, report: DatasetReport
) -> list[tuple[Path, Path | None]]:
    listings: dict[Path, dict[str, str]] = {}
    pairs: list[tuple[Path, Path | None]] = []
    for gt in paths:
        try:
            pairs.append((gt, find_partner(gt, root, lq_root, template, listings)))
        except PictureError as error:
            report.problems.append(str(error))
    partners = {lq.name for _, lq in pairs if lq is not None}
    left_over = [
        path for path in list_pictures(lq_root, keep_unreadable=True) if path.name not in partners
    ]
    if left_over:
        report.notes.append(
            f"{lq_root}: {len(left_over)} pictures have no GT partner, "
            f"for example {left_over[0].name}"
        )
    return pairs


def _size(path: Path, header: PictureHeader, decode: bool) -> tuple[int, ...]:
    if not decode:
        return header.sizes[0]
    return decode_picture(read_file(path), str(path)).shape


def _compare_count(
    root: str, count: int, section: Mapping[str, Any], report: DatasetReport
) -> None:
    """Adds a note if the papers use another number of pictures."""
    if section.get("include") or section.get("meta_info_file"):
        return
    usual = next((USUAL_COUNTS[part] for part in Path(root).parts if part in USUAL_COUNTS), None)
    if usual is not None and usual != count:
        report.notes.append(f"{root}: {count} pictures; the papers use {usual}")


def _check_by_reading(section: Mapping[str, Any], report: DatasetReport, what: str) -> None:
    """Reads every pair as the dataset does, where sizes are known only by decoding."""
    try:
        from basicsr.data import build_dataset
    except ModuleNotFoundError as error:
        raise PictureError(
            f"{section.get('dataroot_gt') or section.get('dataroot_lq')}: data in {what} are read "
            "by BasicSR, which is not installed"
        ) from error
    dataset = build_dataset(dict(section))
    report.pictures = len(dataset)
    # One thread: a read transaction of LMDB belongs to the thread that began it.
    for result in map_in_parallel(dataset.__getitem__, range(len(dataset)), report.name, 1):
        if result.error is None:
            report.pairs += 1
        else:
            report.problems.append(str(result.error))
