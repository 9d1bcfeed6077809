"""Checks options before anything is built or written.

A section that goes to a constructor is bound to that constructor's signature, so the check knows
what the code knows. Where BasicSR reads keys one by one, ``known_keys`` lists them. An unknown key
that resembles a known one is an error; one that resembles none is reported, since the models of
other packages read keys of their own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from basicsr_mambair.options import known_keys as known
from basicsr_mambair.options.errors import OptionError
from mambair.archs.registry import registered_archs
from mambair.signatures import (
    did_you_mean,
    named_parameters,
    nearest_name,
    parameter_names,
    required_names,
)

_SIMILAR = 0.8


def validate_options(options: dict[str, Any], is_train: bool, check_files: bool = True) -> None:
    """Raises :class:`OptionError` for the first thing in ``options`` that cannot work.

    Args:
        options: the options, complete.
        is_train: for training; for testing otherwise.
        check_files: whether folders and files that they name must exist.
    """
    from basicsr.models.sr_model import SRModel
    from basicsr.utils.registry import MODEL_REGISTRY

    networks = [key for key in options if re.fullmatch(r"network_\w+", key)]
    _check_keys(options, known.TOP | {"network_g", "network_d"}, "", networks_are_known=True)
    _require(options, ("name", "model_type", "datasets"), "")
    if not isinstance(options["name"], str):
        raise OptionError(f"name: must be text, got {options['name']!r}")
    _check_number(options, "scale", "", whole=True)
    num_gpu = options["num_gpu"]
    if num_gpu != "auto" and not (isinstance(num_gpu, int) and num_gpu >= 0):
        raise OptionError(f"num_gpu: must be 'auto' or a number of GPUs, got {num_gpu!r}")

    model = _find(dict(iter(MODEL_REGISTRY)), options["model_type"], "model_type", "model")
    if issubclass(model, SRModel) or not networks:
        _section(options, "network_g")
    for key in networks:
        _check_network(_section(options, key), key, options.get("scale"))
    _check_datasets(_section(options, "datasets"), options, is_train, check_files)
    _check_paths(_section(options, "path"), networks, check_files)
    if is_train:
        batch_size = options["datasets"]["train"]["batch_size_per_gpu"]
        _check_train(_section(options, "train"), batch_size)
        _check_keys(_section(options, "logger"), known.LOGGER, "logger")
        for key in ("print_freq", "save_checkpoint_freq"):
            _check_number(options["logger"], key, "logger")
    if options.get("val") is not None:
        _check_val(_section(options, "val"), is_train, options["datasets"], check_files)
    if options.get("published") is not None:
        _check_published(_section(options, "published"))


def _check_published(section: dict[str, Any]) -> None:
    _check_keys(section, known.PUBLISHED, "published")
    _require(section, ("task", "setting"), "published")
    _check_choice(section, "task", known.PUBLISHED_TASKS, "published")
    _check_number(section, "setting", "published", whole=True)
    if not isinstance(section.get("method", ""), str):
        raise OptionError(f"published.method: must be a name, got {section['method']!r}")


def _check_network(section: dict[str, Any], where: str, scale: int | None) -> None:
    """Checks a network's arguments; one of this package is built, without memory for weights."""
    from basicsr.archs import ARCH_REGISTRY

    cls = _check_call(section, dict(iter(ARCH_REGISTRY)), where, "arch")
    if cls not in registered_archs():
        return
    arguments = {key: value for key, value in section.items() if key != "type"}
    try:
        with torch.device("meta"):
            net = cls(**arguments)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{where}: {error}") from error
    if scale is not None and net.upscale != scale:
        raise OptionError(
            f"{where}.upscale: the network enlarges by {net.upscale}, but scale is {scale}"
        )


def _check_train(train: dict[str, Any], batch_size: int) -> None:
    import basicsr.losses  # noqa: F401  (fills the registry)
    from basicsr.models import lr_scheduler
    from basicsr.utils.registry import LOSS_REGISTRY

    from basicsr_mambair.options.optimizers import optimizer_class

    _check_keys({k: v for k, v in train.items() if not k.endswith("_opt")}, known.TRAIN, "train")
    _require(train, ("total_iter", "optim_g", "scheduler"), "train")
    _check_number(train, "total_iter", "train")
    _check_number(train, "grad_clip_norm", "train")
    for key, section in train.items():
        if key in known.OPTIMIZERS:
            _require(section, ("type",), f"train.{key}")
            try:
                cls = optimizer_class(section["type"])
            except ValueError as error:
                raise OptionError(f"train.{key}.type: {error}") from error
            _check_arguments(section, cls, f"train.{key}", given=("params",))
        elif key.endswith("_opt") and section is not None:
            _check_call(section, dict(iter(LOSS_REGISTRY)), f"train.{key}", "loss")
    schedulers = {name: getattr(lr_scheduler, cls) for name, cls in known.SCHEDULERS.items()}
    scheduler = _section(train, "scheduler", "train")
    _check_call(scheduler, schedulers, "train.scheduler", "scheduler", given=("optimizer",))
    parts = train.get("gradient_accumulation", 1)
    if not isinstance(parts, int) or parts < 1 or batch_size % parts:
        raise OptionError(
            "train.gradient_accumulation: must divide batch_size_per_gpu "
            f"{batch_size}, got {parts!r}"
        )
    _check_choice(train, "warm_start", ("bicubic",), "train")
    _check_choice(train, "amp", ("bf16", "fp16"), "train")
    if train.get("compile"):
        _check_compile(train["compile"])


def _check_compile(backend: Any) -> None:
    """``true`` or the name of a backend of ``torch.compile``."""
    if backend is True:
        return
    names = torch.compiler.list_backends(exclude_tags=())
    if backend not in names:
        raise OptionError(
            f"train.compile: must be true or a backend of torch.compile ({', '.join(names)}), "
            f"got {backend!r}"
        )


def _check_val(
    val: dict[str, Any], is_train: bool, datasets: Mapping[str, Any], check_files: bool
) -> None:
    import basicsr.metrics  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import METRIC_REGISTRY

    from basicsr_mambair.metrics.perceptual import MetricUnavailableError, check_available
    from mambair.inference.tiles import TileError, parse_tile

    _check_keys(val, known.VAL, "val")
    if is_train and any(key.split("_")[0] == "val" for key in datasets):
        _require(val, ("val_freq",), "val")
        _check_number(val, "val_freq", "val")
    metrics = val.get("metrics") or {}
    if not isinstance(metrics, dict):
        raise OptionError(f"val.metrics: must be a section of keys and values, is {metrics!r}")
    for name, section in metrics.items():
        given = ("img", "img2", "better")
        registry = dict(iter(METRIC_REGISTRY))
        metric = _check_call(section, registry, f"val.metrics.{name}", "metric", given=given)
        if check_files:
            try:
                check_available(metric.__name__, section)
            except MetricUnavailableError as error:
                raise OptionError(f"val.metrics.{name}: {error}") from error
    _check_choice(val, "baseline", ("bicubic",), "val")
    if not isinstance(val.get("self_ensemble", False), bool):
        raise OptionError(f"val.self_ensemble: must be true or false, got {val['self_ensemble']!r}")
    try:
        parse_tile(val.get("tile", "authors"), val.get("tile_overlap"))
    except TileError as error:
        raise OptionError(f"val.tile: {error}") from error


def _check_datasets(
    datasets: dict[str, Any], options: Mapping[str, Any], is_train: bool, check_files: bool
) -> None:
    import basicsr.data  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import DATASET_REGISTRY

    phases = ("train", "val") if is_train else ("test", "val")
    if not datasets:
        raise OptionError("datasets: the section is empty")
    for key in datasets:
        where = f"datasets.{key}"
        phase = key.split("_")[0]
        if phase not in phases:
            raise OptionError(f"{where}: expected {' or '.join(phases)}{did_you_mean(key, phases)}")
        section = _section(datasets, key, "datasets")
        _require(section, ("type",), where)
        cls = _find(dict(iter(DATASET_REGISTRY)), section["type"], f"{where}.type", "dataset")
        own_keys = getattr(cls, "OPTIONS", None)
        keys = known.STOCK_DATASET if own_keys is None else known.LOADER | own_keys
        _check_keys(section, keys, where)
        for number in ("batch_size_per_gpu", "gt_size", "dataset_enlarge_ratio"):
            _check_number(section, number, where, whole=number != "dataset_enlarge_ratio")
        if phase == "train":
            _require(section, ("batch_size_per_gpu",), where)
        _check_choice(section, "color", ("y",), where)
        io_backend = _section(section, "io_backend", where)
        _check_choice(io_backend, "type", known.IO_BACKENDS, f"{where}.io_backend")
        if hasattr(cls, "check_options"):
            completed = {**section, "phase": phase, "scale": options.get("scale", 1)}
            try:
                cls.check_options(completed)
            except ValueError as error:
                raise OptionError(f"{where}.{error}") from error
        if check_files:
            _check_roots(section, where)
    if is_train and "train" not in datasets:
        raise OptionError("datasets: there is no train section")


def _check_roots(section: Mapping[str, Any], where: str) -> None:
    from mambair.imaging.errors import PictureError
    from mambair.imaging.listing import resolve_root

    for key in ("dataroot_gt", "dataroot_lq"):
        value = section.get(key)
        for root in value if isinstance(value, list) else [value]:
            try:
                if root is not None:
                    resolve_root(str(root))
            except PictureError as error:
                raise OptionError(f"{where}.{key}: {error}") from error


def _check_paths(path: dict[str, Any], networks: Iterable[str], check_files: bool) -> None:
    labels = [network.removeprefix("network_") for network in networks]
    of_networks = {form.format(label) for form in known.NETWORK_PATHS for label in labels}
    _check_keys(path, known.PATH | of_networks, "path")
    for key, value in path.items():
        is_file = key == "resume_state" or key.startswith("pretrain_network")
        if is_file and value is not None and check_files and not Path(value).expanduser().is_file():
            raise OptionError(f"path.{key}: there is no file {value}")


def _section(options: Mapping[str, Any], key: str, parent: str = "") -> dict[str, Any]:
    section = options.get(key)
    if not isinstance(section, dict):
        found = "missing" if section is None else f"{section!r}"
        where = _place(parent, key)
        raise OptionError(f"{where}: must be a section of keys and values, is {found}")
    return section


def _place(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _require(section: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(section, dict):
        raise OptionError(f"{where}: must be a section of keys and values, is {section!r}")
    for key in keys:
        if key not in section:
            raise OptionError(f"{_place(where, key)}: is missing")


def _check_number(section: Mapping[str, Any], key: str, where: str, *, whole: bool = False) -> None:
    """A number above 0, if the key is there."""
    value = section.get(key)
    if value is None:
        return
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not is_number or value <= 0:
        kind = "whole number" if whole else "number"
        raise OptionError(f"{_place(where, key)}: must be a {kind} above 0, got {value!r}")


def _check_choice(
    section: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str
) -> None:
    if section.get(key) is not None and section[key] not in choices:
        wanted = " or ".join(map(repr, choices))
        raise OptionError(f"{where}.{key}: must be {wanted}, got {section[key]!r}")


def _find(registry: Mapping[str, Any], name: Any, where: str, kind: str) -> Any:
    """The object of that name, as BasicSR's registries find it (with or without its suffix)."""
    found = registry.get(name) or registry.get(f"{name}_basicsr")
    if found is None:
        names = [key.removesuffix("_basicsr") for key in registry]
        raise OptionError(f"{where}: there is no {kind} {name!r}{did_you_mean(str(name), names)}")
    return found


def _check_call(
    section: Any,
    registry: Mapping[str, Any],
    where: str,
    kind: str,
    given: tuple[str, ...] = (),
) -> Any:
    """Checks a section with ``type`` and arguments; returns what ``type`` names."""
    _require(section, ("type",), where)
    target = _find(registry, section["type"], f"{where}.type", kind)
    _check_arguments(section, target, where, given)
    return target


def _check_arguments(
    section: Mapping[str, Any], target: Callable[..., Any], where: str, given: tuple[str, ...]
) -> None:
    """Binds a section's keys to a signature; the caller supplies the ``given`` arguments."""
    own = {key for key in section if key != "type" and key not in given}
    for key in sorted(required_names(target) - own - set(given)):
        raise OptionError(
            f"{where}.{key}: is missing; {target.__name__} needs it"
            + _given_instead(key, own, target)
        )
    if parameter_names(target) is None:  # takes anything: what resembles a name is a typo
        _check_keys(dict.fromkeys(own), named_parameters(target), where)
        return
    for key in section:
        if key in own and key not in named_parameters(target):
            hint = did_you_mean(key, named_parameters(target) - set(given))
            raise OptionError(f"{where}.{key}: {target.__name__} has no such argument{hint}")


def _given_instead(key: str, own: Iterable[str], target: Callable[..., Any]) -> str:
    typo = nearest_name(key, set(own) - named_parameters(target), _SIMILAR)
    return f" (found {typo!r})" if typo else ""


def _check_keys(
    section: Mapping[str, Any],
    names: Iterable[str],
    where: str,
    networks_are_known: bool = False,
) -> None:
    names = set(names)
    for key in map(str, section):
        if key in names:
            continue
        nearest = nearest_name(key, names, _SIMILAR)
        # A number more or less names another thing of the same kind: resize_prob2.
        if nearest is not None and _without_digits(nearest) != _without_digits(key):
            raise OptionError(f"{_place(where, key)}: unknown key; did you mean {nearest!r}?")
        if networks_are_known and key.startswith("network_"):
            continue
        warnings.warn(
            f"option {_place(where, key)} is not known to BasicSR and may have no effect",
            stacklevel=2,
        )


def _without_digits(key: str) -> str:
    return re.sub(r"\d", "", key)
