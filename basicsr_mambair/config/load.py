"""From an option file to checked options; nothing is built, written or launched here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from basicsr_mambair.config.errors import OptionError
from basicsr_mambair.config.validate import validate_options
from basicsr_mambair.utils.arguments import did_you_mean

Options = dict[str, Any]


class _OptionLoader(yaml.SafeLoader):
    """YAML as option files are written: ``2e-4`` is a number, a key stands once in a section."""


_OptionLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _mapping_with_unique_keys(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Options:
    seen = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            line = key_node.start_mark.line + 1
            raise OptionError(f"line {line}: key {key_node.value!r} stands twice in its section")
        seen.add(key_node.value)
    loader.flatten_mapping(node)  # merge keys: `<<: *anchor`
    return dict(loader.construct_pairs(node, deep=True))


_OptionLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_with_unique_keys
)


def load_options(
    path: str | Path,
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
        options = _read(path)
        for entry in overrides:
            _override(options, entry)
        _complete(options, is_train)
        validate_options(options, is_train, check_files)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error.__cause__
    return options


def _read(path: Path) -> Options:
    if not path.is_file():
        raise OptionError("there is no such option file")
    try:
        options = yaml.load(path.read_text(encoding="utf-8"), Loader=_OptionLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"not readable as YAML: {error}") from error
    if not isinstance(options, dict):
        raise OptionError("an option file is a mapping of keys to values")
    return options


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
        return yaml.load(text, Loader=_OptionLoader)  # noqa: S506
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
