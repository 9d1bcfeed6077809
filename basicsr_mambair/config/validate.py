"""Checks options before anything is built.

A section that goes to a constructor is bound to that constructor's signature, so the check knows
what the code knows. Where BasicSR reads keys one by one, the keys it reads are listed here. An
unknown key that resembles a known one is an error; one that resembles none is reported, since the
models of other packages read keys of their own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from basicsr_mambair.config.errors import OptionError
from basicsr_mambair.utils.arguments import (
    did_you_mean,
    nearest_name,
    parameter_names,
    required_names,
)

_SIMILAR = 0.8

_TOP = frozenset(
    "name model_type scale num_gpu manual_seed datasets path train val logger dist_params "
    "find_unused_parameters queue_size resize_prob resize_range gaussian_noise_prob noise_range "
    "poisson_scale_range gray_noise_prob jpeg_range second_blur_prob resize_prob2 resize_range2 "
    "gaussian_noise_prob2 noise_range2 poisson_scale_range2 gray_noise_prob2 jpeg_range2 "
    "l1_gt_usm percep_gt_usm gan_gt_usm high_order_degradation color".split()
)
_TRAIN = frozenset(
    "ema_decay optim_g optim_d scheduler total_iter warmup_iter pixel_opt perceptual_opt gan_opt "
    "ldl_opt net_d_iters net_d_init_iters grad_clip_norm gradient_accumulation warm_start "
    "fix_flow flow_lr_mul".split()
)
_VAL = frozenset("val_freq save_img suffix metrics pbar tile tile_overlap baseline".split())
_LOGGER = frozenset("print_freq save_checkpoint_freq use_tb_logger wandb".split())
_PATH = frozenset(
    "pretrain_network_g pretrain_network_d strict_load_g strict_load_d param_key_g param_key_d "
    "resume_state ignore_resume_networks experiments_root results_root root".split()
)
_DATASET = frozenset(
    "name type dataroot_gt dataroot_lq meta_info_file io_backend filename_tmpl gt_size use_hflip "
    "use_rot use_shuffle num_worker_per_gpu batch_size_per_gpu dataset_enlarge_ratio prefetch_mode "
    "num_prefetch_queue pin_memory persistent_workers color mean std phase scale".split()
)

# What BasicSR calls its schedulers.
_SCHEDULERS = {
    "MultiStepLR": "MultiStepRestartLR",
    "MultiStepRestartLR": "MultiStepRestartLR",
    "CosineAnnealingRestartLR": "CosineAnnealingRestartLR",
}


def validate_options(options: dict[str, Any], is_train: bool) -> None:
    """Raises :class:`OptionError` for the first thing in ``options`` that cannot work."""
    from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

    _check_keys(options, _TOP, "", allowed=re.compile(r"network_\w+").fullmatch)
    _require(options, ("name", "model_type", "datasets"), "")
    _find(dict(iter(MODEL_REGISTRY)), options["model_type"], "model_type", "model")
    for key in [k for k in options if k.startswith("network_")]:
        section = _section(options, key)
        _check_call(section, dict(iter(ARCH_REGISTRY)), key, "arch")
    _check_datasets(_section(options, "datasets"), options, is_train)
    _check_paths(_section(options, "path"))
    if is_train:
        batch_size = options["datasets"]["train"]["batch_size_per_gpu"]
        _check_train(_section(options, "train"), batch_size)
        _check_keys(_section(options, "logger"), _LOGGER, "logger")
    if options.get("val") is not None:
        _check_val(_section(options, "val"), is_train, options)
    num_gpu = options["num_gpu"]
    if num_gpu != "auto" and not (isinstance(num_gpu, int) and num_gpu >= 0):
        raise OptionError(f"num_gpu: must be 'auto' or a number of GPUs, got {num_gpu!r}")


def _check_train(train: dict[str, Any], batch_size: int) -> None:
    from basicsr.losses import build_loss  # noqa: F401  (fills the registry)
    from basicsr.models import lr_scheduler
    from basicsr.utils.registry import LOSS_REGISTRY

    from basicsr_mambair.compat.training import optimizer_class

    _check_keys(train, _TRAIN, "train", allowed=re.compile(r"\w+_opt|optim_\w+").fullmatch)
    _require(train, ("total_iter", "optim_g", "scheduler"), "train")
    total = train["total_iter"]
    if not isinstance(total, (int, float)) or total < 1:
        raise OptionError(f"train.total_iter: must be a number of iterations, got {total!r}")
    for key, section in train.items():
        if key.startswith("optim_"):
            _require(section, ("type",), f"train.{key}")
            try:
                cls = optimizer_class(section["type"])
            except ValueError as error:
                raise OptionError(f"train.{key}.type: {error}") from error
            _check_arguments(section, cls, f"train.{key}", given=("params",))
        elif key.endswith("_opt") and isinstance(section, dict):
            _check_call(section, dict(iter(LOSS_REGISTRY)), f"train.{key}", "loss")
    scheduler = _section(train, "scheduler", "train")
    schedulers = {name: getattr(lr_scheduler, cls) for name, cls in _SCHEDULERS.items()}
    _check_call(scheduler, schedulers, "train.scheduler", "scheduler", given=("optimizer",))
    clip = train.get("grad_clip_norm")
    if clip is not None and not (isinstance(clip, (int, float)) and clip > 0):
        raise OptionError(f"train.grad_clip_norm: must be a number above 0, got {clip!r}")
    parts = train.get("gradient_accumulation", 1)
    if not isinstance(parts, int) or parts < 1 or batch_size % parts:
        raise OptionError(
            "train.gradient_accumulation: must divide batch_size_per_gpu "
            f"{batch_size}, got {parts!r}"
        )
    _check_choice(train, "warm_start", "train")


def _check_val(val: dict[str, Any], is_train: bool, options: Mapping[str, Any]) -> None:
    from basicsr.metrics import calculate_metric  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import METRIC_REGISTRY

    _check_keys(val, _VAL, "val")
    has_val = any(key.split("_")[0] == "val" for key in options["datasets"])
    if is_train and has_val:
        _require(val, ("val_freq",), "val")
    for name, section in (val.get("metrics") or {}).items():
        where = f"val.metrics.{name}"
        _check_call(
            section, dict(iter(METRIC_REGISTRY)), where, "metric", given=("img", "img2", "better")
        )
    _check_choice(val, "baseline", "val")
    from basicsr_mambair.inference.tiles import TileError, parse_tile

    try:
        parse_tile(val.get("tile", "authors"), val.get("tile_overlap"))
    except TileError as error:
        raise OptionError(f"val.tile: {error}") from error


def _check_datasets(datasets: dict[str, Any], options: Mapping[str, Any], is_train: bool) -> None:
    import basicsr.data  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import DATASET_REGISTRY

    phases = ("train", "val") if is_train else ("test", "val")
    for key in datasets:
        where = f"datasets.{key}"
        phase = key.split("_")[0]
        if phase not in phases:
            raise OptionError(f"{where}: expected {' or '.join(phases)}{did_you_mean(key, phases)}")
        section = _section(datasets, key, "datasets")
        _require(section, ("type",), where)
        cls = _find(dict(iter(DATASET_REGISTRY)), section["type"], f"{where}.type", "dataset")
        known = getattr(cls, "OPTIONS", None)
        _check_keys(section, _DATASET | (known or frozenset()), where)
        if phase == "train":
            _require(section, ("batch_size_per_gpu",), where)
        if hasattr(cls, "check_options"):
            completed = {**section, "phase": phase, "scale": options.get("scale", 1)}
            try:
                cls.check_options(completed)
            except ValueError as error:
                raise OptionError(f"{where}.{error}") from error
    if is_train and "train" not in datasets:
        raise OptionError("datasets: there is no train section")
    if not datasets:
        raise OptionError("datasets: the section is empty")


def _check_paths(path: dict[str, Any]) -> None:
    _check_keys(
        path,
        _PATH,
        "path",
        allowed=re.compile(r"(pretrain_network|strict_load|param_key)_\w+").fullmatch,
    )
    for key, value in path.items():
        is_file = key == "resume_state" or key.startswith("pretrain_network")
        if is_file and value is not None and not Path(value).expanduser().is_file():
            raise OptionError(f"path.{key}: there is no file {value}")


def _check_choice(section: Mapping[str, Any], key: str, where: str) -> None:
    """Of an option that so far knows a single value."""
    if section.get(key) not in (None, "bicubic"):
        raise OptionError(f"{where}.{key}: must be 'bicubic', got {section[key]!r}")


def _without_digits(key: str) -> str:
    return re.sub(r"\d", "", key)


def _section(options: Mapping[str, Any], key: str, parent: str = "") -> dict[str, Any]:
    where = f"{parent}.{key}" if parent else key
    section = options.get(key)
    if not isinstance(section, dict):
        found = "missing" if section is None else f"{section!r}"
        raise OptionError(f"{where}: must be a section of keys and values, is {found}")
    return section


def _require(section: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(section, dict):
        raise OptionError(f"{where}: must be a section of keys and values, is {section!r}")
    for key in keys:
        if key not in section:
            place = f"{where}.{key}" if where else key
            raise OptionError(f"{place}: is missing")


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
) -> None:
    """Checks a section with ``type`` and constructor arguments."""
    _require(section, ("type",), where)
    target = _find(registry, section["type"], f"{where}.type", kind)
    _check_arguments(section, target, where, given)


def _check_arguments(
    section: Mapping[str, Any], target: Callable[..., Any], where: str, given: tuple[str, ...]
) -> None:
    """Binds a section's keys to a signature; the caller supplies the ``given`` arguments."""
    names = parameter_names(target)
    if names is not None:
        for key in section:
            if key not in names and key != "type" and key not in given:
                hint = did_you_mean(key, names - set(given))
                raise OptionError(f"{where}.{key}: {target.__name__} has no such argument{hint}")
    for key in sorted(required_names(target) - set(section) - set(given)):
        raise OptionError(f"{where}.{key}: is missing; {target.__name__} needs it")


def _check_keys(
    section: Mapping[str, Any],
    known: Iterable[str],
    where: str,
    allowed: Callable[[str], Any] = lambda key: None,
) -> None:
    known = set(known)
    for key in section:
        if key in known or allowed(str(key)):
            continue
        place = f"{where}.{key}" if where else str(key)
        # A section for a network may be misspelt too: network_g stands for all of them.
        candidates = known | ({"network_g", "network_d"} if not where else set())
        nearest = nearest_name(str(key), candidates, _SIMILAR)
        # A number more or less names another thing of the same kind: resize_prob2.
        if nearest is not None and _without_digits(nearest) != _without_digits(str(key)):
            raise OptionError(f"{place}: unknown key; did you mean {nearest!r}?")
        warnings.warn(
            f"option {place} is not known to BasicSR and may have no effect", stacklevel=2
        )
