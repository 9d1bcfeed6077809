"""Checks of what options name outside themselves: folders, weights, packages, sizes of pictures."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from basicsr_mambair.classifiers import classifier_file
from basicsr_mambair.lmdb_check import check_lmdb
from basicsr_mambair.options.calls import lookup
from basicsr_mambair.options.checks import Context
from basicsr_mambair.options.errors import Path

# Sizes are read from the headers of so many pictures at most: one takes about 0.1 ms.
_SIZES_READ = 2000
# Datasets that refuse a picture smaller than a crop.
_CROPPING = ("DegradedImageDataset", "Dataset_PairedImage", "MambaIRPairedDataset",
             "PairedImageDataset")  # fmt: skip
# Datasets that look for the pictures whose names match `include` and not `exclude`.
_LISTING = ("DegradedImageDataset", "RealESRGANDataset_mambair")


def check_surroundings(context: Context) -> None:
    """Notes what is not there, or does not fit."""
    _check_weights(context)
    _check_logging(context)
    datasets = context.options.get("datasets")
    if not isinstance(datasets, dict):
        return
    missing = []
    for key, section in datasets.items():
        if isinstance(section, dict) and not context.problems.under(("datasets", key, "type")):
            if not _check_roots(context, section, ("datasets", key)):
                missing.append(key)
                continue
            _check_lists(context, section, ("datasets", key))
            _check_stores(context, section, ("datasets", key))
            _check_contents(context, section, ("datasets", key))
            _check_patterns(context, section, ("datasets", key))
            if key.split("_")[0] == "train":
                _check_crop(context, section, ("datasets", key))
    present = [str(each.get("name", key)) for key, each in datasets.items()
               if isinstance(each, dict) and key not in missing]  # fmt: skip
    if missing and present and not context.is_train:
        context.problems.add("datasets", f"to measure what is there: --only {','.join(present)}")


def _check_roots(context: Context, section: Mapping[str, Any], path: Path) -> bool:
    from mambair.imaging.errors import PictureError
    from mambair.imaging.listing import resolve_root

    found = True
    for key in ("dataroot_gt", "dataroot_lq"):
        value = section.get(key)
        if context.problems.under((*path, key)):
            continue
        for root in value if isinstance(value, list) else [value]:
            if root is None:
                continue
            if root == "":
                context.problems.add((*path, key), "must name a folder, is empty")
                continue
            try:
                resolve_root(str(root))
            except PictureError as error:
                context.problems.add((*path, key), str(error))
                found = False
    return found


def _check_lists(context: Context, section: Mapping[str, Any], path: Path) -> None:
    """Files that name the pictures."""
    for key in ("meta_info", "meta_info_file"):
        value = section.get(key)
        if isinstance(value, str) and value and not os.path.isfile(value):
            context.problems.add((*path, key), f"{value}: there is no such file")


def _check_stores(context: Context, section: Mapping[str, Any], path: Path) -> None:
    """LMDBs that are damaged or lack entries."""
    from mambair.imaging.errors import PictureError
    from mambair.imaging.listing import as_list

    backend = section.get("io_backend") or {}  # classes of other packages may have none
    if context.problems.under(path) or backend.get("type") != "lmdb":
        return
    for key in ("dataroot_gt", "dataroot_lq"):
        for root in as_list(section.get(key)):
            try:
                check_lmdb(str(root))
            except PictureError as error:
                context.problems.add((*path, key), str(error))


def _check_contents(context: Context, section: Mapping[str, Any], path: Path) -> None:
    """What a dataset finds in its files at once, by its method ``check_files(opt)``."""
    from basicsr.utils.registry import DATASET_REGISTRY

    from mambair.imaging.errors import PictureError

    check = getattr(lookup(DATASET_REGISTRY, section.get("type")), "check_files", None)
    if check is None or context.problems.under(path):
        return
    try:
        check(section)
    except PictureError as error:
        context.problems.add(path, str(error))


def _check_patterns(context: Context, section: Mapping[str, Any], path: Path) -> None:
    """Patterns of file names that leave no picture, and folders that hold none."""
    from mambair.imaging.errors import PictureError
    from mambair.imaging.listing import as_list, list_pictures

    if section.get("type") not in _LISTING or context.problems.under(path):
        return
    if (section.get("io_backend") or {}).get("type", "disk") != "disk":
        return
    if section.get("meta_info") or section.get("meta_info_file"):
        return
    for root in as_list(section.get("dataroot_gt")):
        try:
            present = list_pictures(str(root), keep_unreadable=True)
        except PictureError as error:
            context.problems.add((*path, "dataroot_gt"), str(error))
            continue
        include, exclude = as_list(section.get("include", "*")), as_list(section.get("exclude"))
        for key, excluded in (("include", []), ("exclude", exclude)):
            try:
                if key in section:
                    list_pictures(str(root), include, excluded, keep_unreadable=True)
            except PictureError as error:
                context.problems.add((*path, key), f"{error} (it has {len(present)} pictures)")
                break


def _check_crop(context: Context, section: Mapping[str, Any], path: Path) -> None:
    """A crop that is larger than a picture, as far as headers tell."""
    from mambair.imaging.errors import PictureError
    from mambair.imaging.listing import as_list, list_pictures
    from mambair.imaging.reading import picture_size

    side = section.get("gt_size")
    if not isinstance(side, int) or section.get("type") not in _CROPPING:
        return
    if section.get("meta_info_file") or context.problems.under(path):
        return
    if section["io_backend"]["type"] != "disk" or section.get("on_bad_image") == "skip":
        return
    roots = section.get("dataroot_gt")
    left = _SIZES_READ
    for root in roots if isinstance(roots, list) else [roots]:
        patterns = (as_list(section.get("include", "*")), as_list(section.get("exclude")))
        try:
            pictures = list_pictures(str(root), *patterns)[: max(left, 0)]
        except PictureError:
            continue  # the dataset says what is missing
        left -= len(pictures)
        for picture in pictures:
            try:
                height, width = picture_size(str(picture))[:2]
            except PictureError:
                continue
            if min(height, width) < side:
                context.problems.add(
                    (*path, "gt_sizes" if section.get("gt_sizes") else "gt_size"),
                    f"is {side}, but {picture} has {height}×{width} pixels (height × width)",
                )
                return


def _check_weights(context: Context) -> None:
    path = context.options.get("path")
    if not isinstance(path, dict):
        return
    for key, value in path.items():
        is_file = key == "resume_state" or str(key).startswith("pretrain_network")
        if is_file and isinstance(value, str) and not FilePath(value).expanduser().is_file():
            context.problems.add(("path", key), f"{value} does not exist")


def _check_logging(context: Context) -> None:
    """TensorBoard and wandb are imported after folders are made; they are looked for here."""
    logger = context.options.get("logger")
    if not context.is_train or not isinstance(logger, dict):
        return
    if "debug" in str(context.options.get("name")):  # BasicSR logs to neither then
        return
    if logger.get("use_tb_logger") is True and not _is_installed("tensorboard"):
        context.problems.add(
            ("logger", "use_tb_logger"), "needs the package tensorboard: pip install tensorboard"
        )
    wandb = logger.get("wandb")
    if not isinstance(wandb, dict) or wandb.get("project") is None:
        return
    if not _is_installed("wandb"):
        context.problems.add(
            ("logger", "wandb", "project"),
            "needs the package wandb: pip install wandb; null turns it off",
        )


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def check_features(context: Context, cls: Any, arguments: dict[str, Any], path: Path) -> None:
    """A loss that looks through VGG: its layers, and its weights, which are fetched first."""
    import torch
    from basicsr.archs import vgg_arch
    from torchvision.models import vgg

    problems = context.problems
    name = arguments.get("vgg_type", "vgg19")
    builder = getattr(vgg, name, None) if str(name).startswith("vgg") else None
    names = vgg_arch.NAMES.get(str(name).replace("_bn", ""))
    if builder is None or names is None:
        known = ", ".join(vgg_arch.NAMES)
        problems.add((*path, "vgg_type"), f"must be one of {known}, or with _bn, got {name!r}")
        return
    layers = arguments.get("layer_weights")
    if not isinstance(layers, dict) or not layers:
        problems.add((*path, "layer_weights"), "must be a section: weights by name of a layer")
        return
    names = vgg_arch.insert_bn(names) if "bn" in name else names
    for layer, weight in layers.items():
        place = (*path, "layer_weights", str(layer))
        if layer not in names:
            problems.add(place, f"{name} has no such layer; it has {', '.join(names)}")
        elif isinstance(weight, bool) or not isinstance(weight, (int, float)):
            problems.add(place, f"must be a number, got {weight!r}")
    # BasicSR's l2 names a class that torch.nn lacks.
    if arguments.get("criterion", "l1") not in ("l1", "fro"):
        text = f"must be l1 or fro (VGGLoss has l2, too), got {arguments['criterion']!r}"
        problems.add((*path, "criterion"), text)
    if problems.under(path) or not context.check_files:
        return
    if os.path.exists(vgg_arch.VGG_PRETRAIN_PATH):
        if name != "vgg19":
            problems.add(
                (*path, "vgg_type"),
                f"BasicSR takes the weights from {vgg_arch.VGG_PRETRAIN_PATH} if that file exists, "
                f"and they are of vgg19; move it away to train with {name}",
            )
        return
    file, url = classifier_file(name)
    if file.is_file() or not context.fetch:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file))
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        problems.add(
            path,
            f"{cls.__name__} needs the weights of {name}, which cannot be downloaded ({error}); "
            f"put {url} at {file}",
        )
