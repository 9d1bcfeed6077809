"""From an option file to checked options; nothing is built, written or launched here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from basicsr_mambair.options.compose import (
    OptionLoader,
    Options,
    read_composed,
    resolve_references,
)
from basicsr_mambair.options.errors import OptionError
from basicsr_mambair.options.pretrained import find_pretrained
from basicsr_mambair.options.validate import validate_options
from basicsr_mambair.plugins import PluginError, import_plugins
from mambair.signatures import did_you_mean


def load_options(
    path: str | os.PathLike[str],
    *,
    is_train: bool,
    overrides: Sequence[str] = (),
    check_files: bool = True,
) -> Options:
    """Reads, completes and checks an option file.

    Args:
        path: the YAML file.
        is_train: for training; for testing otherwise.
        overrides: ``KEY:KEY=VALUE`` entries that replace or add values, as of ``--force_yml``.
        check_files: whether folders and files that the options name must exist.

    Returns:
        The options, defaults filled in.

    Raises:
        OptionError: the file is missing or no YAML, or a key or value in it is wrong.
    """
    path = Path(path)
    try:
        options = read_composed(path)
        for entry in overrides:
            _override(options, entry)
        resolve_references(options)
        import_plugins(options.get("imports") or ())
        if check_files:
            find_pretrained(options)
        _complete(options, is_train)
        validate_options(options, is_train, check_files)
    except PluginError as error:
        raise OptionError(f"{path}: imports: {error}") from error
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error.__cause__
    return options


def load_any_options(path: str | os.PathLike[str]) -> Options:
    """Reads and checks an option file of either kind, without a look at the files it names.

    A file with a ``train`` section is one for training.

    Raises:
        OptionError: as of :func:`load_options`.
    """
    try:
        is_train = "train" in read_composed(Path(path))
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error.__cause__
    return load_options(path, is_train=is_train, check_files=False)


def _override(options: Options, entry: str) -> None:
    """Applies one ``KEY:KEY=VALUE``."""
    keys, separator, text = entry.partition("=")
    if not separator:
        raise OptionError(f"override {entry!r} is not of the form KEY:KEY=VALUE")
    *sections, last = [key.strip() for key in keys.split(":")]
    section = options
    for depth, key in enumerate(sections):
        if not isinstance(section.get(key), dict):
            where = ":".join(sections[: depth + 1])
            candidates = [k for k, v in section.items() if isinstance(v, dict)]
            raise OptionError(
                f"override {entry!r}: there is no section {where!r}{did_you_mean(key, candidates)}"
            )
        section = section[key]
    section[last] = _parse_value(text.strip(), entry)


def _parse_value(text: str, entry: str) -> Any:
    if text.lower() == "none":  # BasicSR's spelling beside YAML's
        return None
    try:
        return yaml.load(text, Loader=OptionLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise OptionError(f"override {entry!r}: the value is no YAML: {error}") from error


def _complete(options: Options, is_train: bool) -> None:
    """Fills in what BasicSR reads without asking whether it is there."""
    options.setdefault("num_gpu", "auto")
    _defaults(options, "path", resume_state=None)
    if is_train:
        _defaults(options, "logger", print_freq=100, save_checkpoint_freq=5000, use_tb_logger=False)
        if options.get("val") is not None:
            _defaults(options, "val", save_img=False)
    else:
        _defaults(options, "val", save_img=True, suffix=None)
    datasets = options.get("datasets")
    if not isinstance(datasets, dict):
        return
    for key, dataset in datasets.items():
        if not isinstance(dataset, dict):
            continue
        dataset.setdefault("name", key)
        if dataset.get("type") == "PairedImageDataset" and _wants_own_pairs(options, dataset):
            dataset["type"] = "MambaIRPairedDataset"
        _defaults(dataset, "io_backend", type="disk")
        if key == "train":
            _defaults(
                datasets,
                key,
                dataset_enlarge_ratio=1,
                num_worker_per_gpu=2,
                use_hflip=True,
                use_rot=True,
            )


def _defaults(options: Options, key: str, **values: Any) -> None:
    """Fills in a section; one that is no section is left for the check to name."""
    if options.get(key) is None:
        options[key] = {}
    if isinstance(options[key], dict):
        for name, value in values.items():
            options[key].setdefault(name, value)


def _wants_own_pairs(options: Options, dataset: Options) -> bool:
    """Whether ``type: PairedImageDataset`` means the dataset of the published MambaIR files.

    It does where the model is one of this package, or where a key or value is used that BasicSR's
    own class of that name does not know. Every other file gets BasicSR's class.
    """
    from basicsr_mambair.models import is_own_model

    return (
        is_own_model(options.get("model_type"))
        or "task" in dataset
        or "noise" in dataset
        or isinstance(dataset.get("dataroot_gt"), list)
        or isinstance(dataset.get("dataroot_lq"), list)
    )
