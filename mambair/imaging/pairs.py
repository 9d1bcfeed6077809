"""Pairs of LQ and GT pictures: their options, partners by name, sizes that fit, lists of names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mambair.imaging.errors import PictureError
from mambair.imaging.listing import EXTENSIONS, as_list
from mambair.imaging.reading import read_file
from mambair.signatures import did_you_mean

_SHAPE = re.compile(r" \(\d+, *\d+, *\d+\).*$")


class Task(NamedTuple):
    """The kind of pairs that a task uses."""

    gray: bool
    adds_noise: bool  # LQ is made from GT


TASKS = {
    "SR": Task(gray=False, adds_noise=False),
    "CAR": Task(gray=True, adds_noise=False),
    "denoising_gray": Task(gray=True, adds_noise=True),
    "denoising_color": Task(gray=False, adds_noise=True),
}


def adds_noise(opt: Mapping[str, Any]) -> bool:
    """Returns whether the task of a dataset section makes LQ from GT, so that no LQ is read."""
    task = TASKS.get(opt.get("task", "SR"))
    return task is not None and task.adds_noise


def check_pair_options(opt: Mapping[str, Any]) -> None:
    """Checks the section of a dataset of pairs; opens no file.

    Args:
        opt: keys ``task``, ``noise``, ``dataroot_gt``, ``dataroot_lq``, ``meta_info_file`` and
            ``filename_tmpl``.

    Raises:
        ValueError: an option is wrong; the message begins with its key.
    """
    task = opt.get("task", "SR")
    if task not in TASKS:
        raise ValueError(f"task: there is no task {task!r}{did_you_mean(str(task), TASKS)}")
    made = TASKS[task].adds_noise
    if made and not isinstance(opt.get("noise"), (int, float)):
        raise ValueError(f"noise: task {task} needs σ in gray levels, got {opt.get('noise')!r}")
    roots = {}
    for key in ("dataroot_gt",) if made else ("dataroot_gt", "dataroot_lq"):
        roots[key] = as_list(opt.get(key))
        if not roots[key] or not all(isinstance(each, str) for each in roots[key]):
            raise ValueError(f"{key}: must be a folder or a list of folders")
    if len({len(each) for each in roots.values()}) > 1:
        raise ValueError(
            f"dataroot_lq: names {len(roots['dataroot_lq'])} folders where dataroot_gt names "
            f"{len(roots['dataroot_gt'])}"
        )
    if opt.get("meta_info_file") and len(roots["dataroot_gt"]) > 1:
        raise ValueError("meta_info_file: goes with a single dataroot_gt")
    if "{}" not in opt.get("filename_tmpl", "{}"):
        raise ValueError("filename_tmpl: must hold {} where the name of the GT picture goes")


def check_crop(opt: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` if training could not crop by ``gt_size``."""
    gt_size, scale = opt.get("gt_size"), int(opt.get("scale", 1))
    if opt.get("phase") != "train":
        return
    if not isinstance(gt_size, int) or gt_size < scale or gt_size % scale:
        raise ValueError(f"gt_size: must be a multiple of scale {scale}, got {gt_size!r}")


def find_partner(
    gt_path: Path, gt_root: str, lq_root: str, template: str, listings: dict[Path, dict[str, str]]
) -> Path:
    """The LQ picture of a GT picture: same place, templated name, any usual extension.

    Args:
        gt_path: the GT picture.
        gt_root: its data root.
        lq_root: data root of the LQ pictures.
        template: ``filename_tmpl``.
        listings: the folders read so far; shared between calls.

    Raises:
        PictureError: there is none.
    """
    inside = gt_path.parent.relative_to(gt_root) if gt_path.is_relative_to(gt_root) else Path()
    folder = Path(lq_root) / inside
    names = list_names(folder, listings)
    stem = template.format(gt_path.stem)
    for extension in (gt_path.suffix.lower(), *EXTENSIONS):
        if f"{stem}{extension}" in names:
            return folder / names[f"{stem}{extension}"]
    raise PictureError(f"{gt_path}: has no partner {folder / stem}.* (dataroot_lq)")


def check_pair_size(
    gt_name: str,
    gt: tuple[int, ...],
    lq_name: str,
    lq: tuple[int, ...],
    scale: int,
    exactly: bool,
) -> None:
    """Compares the sizes ``(H, W, …)`` of a pair.

    Args:
        gt_name: the GT picture, for the message.
        gt: its size.
        lq_name: the LQ picture.
        lq: its size.
        scale: GT is so many times LQ.
        exactly: otherwise GT may have ``scale − 1`` pixels more.

    Raises:
        PictureError: they do not match.
    """
    over = [g - q * scale for g, q in zip(gt[:2], lq[:2], strict=True)]
    if not all(0 <= each <= (0 if exactly else scale - 1) for each in over):
        raise PictureError(
            f"{lq_name}: {lq[0]}×{lq[1]} pixels do not match the {gt[0]}×{gt[1]} of {gt_name} "
            f"at scale {scale}"
        )


def list_names(folder: Path, listings: dict[Path, dict[str, str]]) -> dict[str, str]:
    """Names in a folder by the same names with a lower-case extension; each folder is read once."""
    if folder not in listings:
        try:
            names = os.listdir(folder)
        except OSError as error:
            raise PictureError(f"{folder}: not a readable folder: {error.strerror}") from error
        parts = [os.path.splitext(name) for name in names]
        listings[folder] = {stem + extension.lower(): stem + extension for stem, extension in parts}
    return listings[folder]


def read_meta_info(path: str) -> list[str]:
    """Names of the GT pictures in a meta info file: the first word of each line.

    Raises:
        PictureError: it cannot be read, is not UTF-8, or is empty.
    """
    try:
        lines = read_file(Path(path).expanduser()).decode().splitlines()
    except UnicodeError as error:
        raise PictureError(f"{path}: not a readable meta info file: it is not text") from error
    # "0001.png (480,480,3) 1": names may hold brackets of their own
    names = [_SHAPE.sub("", line).strip() for line in lines if line.strip()]
    if not names:
        raise PictureError(f"{path}: the meta info file is empty")
    return names


def keys_of_lmdb(folder: str) -> list[str]:
    """Keys of an LMDB as BasicSR writes it: names in ``meta_info.txt`` without extension."""
    if not folder.rstrip("/").endswith(".lmdb"):
        raise PictureError(f"{folder}: the folder of an LMDB ends in .lmdb")
    names = read_meta_info(os.path.join(folder, "meta_info.txt"))
    return sorted(os.path.splitext(name)[0] for name in names)
