"""Checks of what is registered: networks, losses, optimizers, schedulers, metrics, datasets."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

from basicsr_mambair.options import stage_checks, surroundings
from basicsr_mambair.options.calls import check_arguments, check_call, find, lookup, parameters_of
from basicsr_mambair.options.checks import (
    Context,
    check_keys,
    check_plain_sections,
    has_truth,
    keys_of_other_models,
    phases,
    warn,
)
from basicsr_mambair.options.errors import Path
from basicsr_mambair.options.fields import fields_of
from basicsr_mambair.options.optimizers import is_schedule_free, optimizer_class
from basicsr_mambair.options.sections import (
    IO_BACKENDS,
    SCHEDULERS,
    DatasetOptions,
    MetricOptions,
)
from basicsr_mambair.options.stock import STOCK_DATASETS, ModelOptions, options_of_model
from mambair.signatures import did_you_mean

_MOST_PARAMETERS = 10**11  # 400 GB
# Exceptions that constructors raise for bad arguments.
_REFUSALS = (ValueError, TypeError, AssertionError, KeyError, IndexError, ZeroDivisionError,
             NotImplementedError, AttributeError, RuntimeError, OverflowError)  # fmt: skip


def check_options(context: Context) -> None:
    """Notes everything in the options that cannot work."""
    import basicsr.models  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import MODEL_REGISTRY

    options, problems = context.options, context.problems
    model_class, model = None, ModelOptions(networks=())
    if "model_type" in options:
        registry = dict(iter(MODEL_REGISTRY))
        model_class = find(registry, options["model_type"], ("model_type",), "model", problems)
    known_class = False
    if model_class is not None:
        model, known_class = options_of_model(model_class)
    if not context.networks and not model.networks:
        context.section("network_g")
    check_plain_sections(context, model)
    scale = options.get("scale")
    for key in context.networks:
        if key not in model.networks or isinstance(options[key], dict):
            _check_network(context, key, scale if key == "network_g" else None)
    _check_datasets(context)
    if context.is_train:
        train = context.section("train")
        if train is not None:
            _check_train(context, train, model, known_class)
    if isinstance(options.get("val"), dict):
        _check_val(context, options["val"], model)
    if model_class is not None and hasattr(model_class, "check_options") and not problems:
        _ask(context, model_class.check_options, {**options, "is_train": context.is_train}, ())
    if context.check_files:
        surroundings.check_surroundings(context)


def _ask(
    context: Context, check: Callable[[Any], None], section: dict[str, Any], path: Path
) -> None:
    """Notes the ``ValueError`` of a class's own check; it begins with the key that is wrong."""
    try:
        check(section)
    except (ValueError, TypeError, OverflowError) as error:
        name, _, text = str(error).partition(": ")
        if text and all(each.isidentifier() for each in name.split(".")):
            context.problems.add((*path, *name.split(".")), text)
        else:
            context.problems.add(path, str(error))


def _check_network(context: Context, key: str, scale: Any) -> None:
    """Checks a network's arguments by building it without memory for weights."""
    from basicsr.archs import ARCH_REGISTRY

    section, problems = context.section(key), context.problems
    if section is None:
        return
    cls = check_call(section, dict(iter(ARCH_REGISTRY)), (key,), "arch", problems)
    if cls is not None and not problems.under((key,)):
        check_built(context, key, cls, scale)


def check_built(context: Context, key: str, cls: type, scale: Any) -> None:
    """Builds a network of ours or BasicSR's on the ``meta`` device; others may do anything."""
    import torch

    from mambair.archs.contract import ContractError, contract_of
    from mambair.archs.registry import registered_archs

    own = cls in registered_archs()
    if not own and not cls.__module__.startswith(("basicsr.", "basicsr_mambair.")):
        if key == "network_g":
            stage_checks.check_multiples(context, None, cls.__name__)
        return
    section, problems = context.options[key], context.problems
    try:
        with torch.device("meta"):
            net = cls(**{name: value for name, value in section.items() if name != "type"})
    except _REFUSALS as error:
        if own or "meta" not in str(error):  # not every layer can be built without memory
            problems.add(key, _said(error))
        return
    parameters = sum(p.numel() for p in net.parameters())
    if parameters > _MOST_PARAMETERS:
        problems.add(key, f"the network would have {parameters:.3g} parameters")
    contract = None
    if (own or key == "network_g") and not problems.under((key,)):
        with contextlib.suppress(ContractError):  # a network that is trained otherwise
            contract = contract_of(net)
    if contract is not None and isinstance(scale, int) and contract.upscale != scale:
        name = "scale" if "scale" in parameters_of(cls) else "upscale"
        text = f"the network enlarges by {contract.upscale}, but scale is {scale}"
        problems.add((key, name), text)
    if context.is_train and key == "network_g" and not problems.under((key,)):
        _check_warm_start(context, net)
        stage_checks.check_multiples(context, contract, cls.__name__)
    elif key == "network_d":
        stage_checks.check_judged(context, net, section.get("num_in_ch", 3))


def _check_warm_start(context: Context, net: Any) -> None:
    train, path = context.options.get("train"), context.options.get("path")
    if not isinstance(train, dict) or train.get("warm_start") != "bicubic":
        return
    if isinstance(path, dict) and path.get("pretrain_network_g"):
        return
    if not hasattr(net, "warm_start"):
        text = f"{type(net).__name__} has no such beginning"
        context.problems.add(("train", "warm_start"), text)
        return
    try:
        net.warm_start("bicubic")
    except ValueError as error:
        context.problems.add(("train", "warm_start"), str(error))


def _said(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0] or type(error).__name__
    return f"there is no {text}" if isinstance(error, KeyError) else text


def _check_train(
    context: Context, train: dict[str, Any], model: ModelOptions, known_class: bool
) -> None:
    problems = context.problems
    optimizers = [key for key in train if key.startswith("optim_")]
    losses = [key for key in train if key.endswith("_opt")]
    declared = fields_of(model.train)
    elsewhere = keys_of_other_models("train")
    also = {*optimizers}
    if model.every_loss or not known_class:
        # A loss under a name of the user's own, unless it is an usual name misspelt.
        usual = [key for key in (*declared, *elsewhere) if key.endswith("_opt")]
        also |= {key for key in losses if not _is_misspelt(key, usual)}
    check_keys(context, train, model.train, ("train",), also=also, elsewhere=elsewhere - also)
    for key in optimizers:
        if key not in declared and not known_class:
            warn(f"option train.{key} is not known to BasicSR and may have no effect")
        if isinstance(train[key], dict):
            _check_optimizer(context, train[key], ("train", key), model)
        elif train[key] is not None or key in declared:
            context.section("train", key)
    computed = 0
    for key in losses:
        if train[key] is None:
            continue
        if problems.under(("train", key)):
            continue
        if key in declared or key in also or key in elsewhere:
            computed += key in declared or key in also
            _check_loss(context, train[key], ("train", key))
    reported = any(p.path[:1] == ("train",) and p.path[-1].endswith("_opt") for p in problems)
    if (model.needs_loss or model.every_loss) and not computed and not reported:
        problems.add("train", "names no loss; pixel_opt: {type: L1Loss} is the usual one")
    if isinstance(train.get("scheduler"), dict):
        _check_scheduler(context, train)
    own = getattr(model.train, "check_together", None)
    if own is not None:
        for name, text in own(train, context.options):
            if not problems.under(("train", name)):
                problems.add(("train", name), text)


def _is_misspelt(key: str, usual: list[str]) -> bool:
    from mambair.signatures import nearest_name

    return key not in usual and nearest_name(key, usual, 0.8) is not None


def _check_optimizer(
    context: Context, section: dict[str, Any], path: Path, model: ModelOptions
) -> None:
    """Checks the arguments, and takes a step with one parameter."""
    import torch

    problems = context.problems
    if "type" not in section:
        problems.add((*path, "type"), "is missing")
        return
    try:
        cls = optimizer_class(section["type"])
    except ValueError as error:
        problems.add((*path, "type"), str(error))
        return
    if is_schedule_free(cls) and not model.schedule_free:
        problems.add(
            (*path, "type"),
            f"{cls.__name__} is schedule-free: it must be switched between training and use, "
            "which model_type RestorationModel does",
        )
        return
    check_arguments(section, cls, path, problems, given=("params",))
    if problems.under(path):
        return
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.ones(2, 2)
    try:
        arguments = {key: value for key, value in section.items() if key != "type"}
        optimizer = cls([parameter], **arguments)
        if is_schedule_free(optimizer):
            optimizer.train()  # type: ignore[attr-defined]
        if not torch.cuda.is_available():  # some arguments are for GPUs alone
            optimizer.step()
    except _REFUSALS as error:
        problems.add(path, _said(error))


def _check_loss(context: Context, section: Any, path: Path) -> None:
    import basicsr.losses
    from basicsr.utils.registry import LOSS_REGISTRY

    problems = context.problems
    cls = check_call(section, dict(iter(LOSS_REGISTRY)), path, "loss", problems)
    if cls is None or problems.under(path):
        return
    if section.get("reduction") == "none":
        problems.add((*path, "reduction"), "must be 'mean' or 'sum': a step needs one number")
        return
    arguments = {key: value for key, value in section.items() if key != "type"}
    if hasattr(cls, "check_available"):  # building it would read large files
        _check_unbuilt(context, cls, arguments, path)
    elif "vgg_type" in inspect.signature(cls).parameters:
        surroundings.check_features(context, cls, arguments, path)
    elif cls.__module__.startswith((basicsr.losses.__name__, "basicsr_mambair.")):
        try:
            cls(**arguments)
        except _REFUSALS as error:
            problems.add(path, _said(error))


def _check_unbuilt(context: Context, cls: Any, arguments: dict[str, Any], path: Path) -> None:
    """Asks a class about its arguments, and about files and packages that it needs."""
    if hasattr(cls, "check_options"):
        _ask(context, cls.check_options, arguments, path)
    if context.check_files and not context.problems.under(path):
        try:
            cls.check_available(arguments)
        except RuntimeError as error:
            context.problems.add(path, str(error))


def _check_scheduler(context: Context, train: dict[str, Any]) -> None:
    section, path, problems = train["scheduler"], ("train", "scheduler"), context.problems
    if "type" not in section:
        problems.add((*path, "type"), "is missing")
        return
    found = find(SCHEDULERS, section["type"], (*path, "type"), "scheduler", problems)
    if found is None:
        return
    check_keys(context, section, found[1], path)
    unknown = set(section) - set(fields_of(found[1]))
    for key in unknown:
        hint = did_you_mean(key, fields_of(found[1]))
        problems.add((*path, key), f"{section['type']} has no such argument{hint}")
    if problems.under(path):
        return
    starts = "periods" if "periods" in section else "restarts"
    count = len(section.get(starts, [0]))
    for key, default in (("restart_weights", [1]), ("eta_mins", [0] * count)):
        if len(section.get(key, default)) != count:
            problems.add(
                (*path, key),
                f"has {len(section.get(key, default))} entries where {starts} has {count}",
            )
    total, periods = train.get("total_iter"), section.get("periods")
    if periods is not None and isinstance(total, int) and sum(periods) < total - 1:
        problems.add(
            (*path, "periods"),
            f"end after iteration {sum(periods)} of total_iter {total}{_one_cosine(section)}",
        )


def _one_cosine(section: dict[str, Any]) -> str:
    if section["type"] != "CosineAnnealingRestartLR":
        return ""
    return "; leave periods and restart_weights out for one cosine over the whole training"


def _check_val(context: Context, val: dict[str, Any], model: ModelOptions) -> None:
    import basicsr.metrics  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import METRIC_REGISTRY

    problems, datasets = context.problems, context.options.get("datasets")
    check_keys(context, val, model.val, ("val",), elsewhere=keys_of_other_models("val"))
    validated = isinstance(datasets, dict) and any(str(k).startswith("val") for k in datasets)
    if context.is_train and validated and "val_freq" not in val:
        problems.add(("val", "val_freq"), "is missing: iterations between validations")
    own = getattr(model.val, "check_together", None)
    if own is not None:
        for name, text in own(val, context.options):
            if not problems.under(("val", name)):
                problems.add(("val", name), text)
    if not isinstance(val.get("metrics"), dict):
        return
    for name, section in val["metrics"].items():
        path = ("val", "metrics", name)
        metric = check_call(
            section, dict(iter(METRIC_REGISTRY)), path, "metric", problems,
            given=("img", "img2", "better"),
        )  # fmt: skip
        if metric is None:
            continue
        _check_metric(context, metric, section, path)


def _check_metric(
    context: Context, metric: Callable[..., Any], section: dict[str, Any], path: Path
) -> None:
    problems = context.problems
    declared = fields_of(getattr(metric, "OPTIONS", MetricOptions))
    for key, value in section.items():
        problem = declared[key].problem(value) if key in declared else None
        if problem and not problems.under((*path, key)):
            problems.add((*path, key), problem)
    if problems.under(path):
        return
    check_available = getattr(metric, "check_available", None)
    if context.check_files and check_available is not None:
        try:
            check_available(section)
        except RuntimeError as error:
            problems.add(path, str(error))
    if "img2" not in inspect.signature(metric).parameters:
        return
    for key, dataset in _sections(context.options.get("datasets")):
        of_dataset = options_of_dataset(dataset.get("type"))
        if not key.startswith("train") and not has_truth(of_dataset, dataset):
            problems.add(
                path,
                f"{metric.__name__} compares with true pictures, which {dataset.get('type')} "
                f"(datasets.{key}) does not read",
            )


def _sections(value: Any) -> list[tuple[str, dict[str, Any]]]:
    pairs = value.items() if isinstance(value, dict) else ()
    return [(key, each) for key, each in pairs if isinstance(each, dict)]


def options_of_dataset(type_name: Any) -> type | None:
    """The type of a dataset's section; ``None`` if its class declares none."""
    from basicsr.utils.registry import DATASET_REGISTRY

    cls = lookup(DATASET_REGISTRY, type_name)
    declared = getattr(cls, "OPTIONS", None)
    if declared is None and cls is not None and cls.__module__.startswith("basicsr."):
        declared = STOCK_DATASETS.get(cls.__name__)
    return declared if isinstance(declared, type) else None


def _check_datasets(context: Context) -> None:
    datasets = context.section("datasets")
    if datasets is None:
        return
    problems = context.problems
    if not datasets:
        problems.add("datasets", "the section is empty")
        return
    wanted = phases(context.is_train)
    for key in datasets:
        phase = key.split("_")[0]
        if phase not in wanted:
            hint = did_you_mean(key, wanted)
            problems.add(("datasets", key), f"expected {' or '.join(wanted)}{hint}")
        elif context.section("datasets", key) is not None:
            _check_dataset(context, key, phase)
    if context.is_train and "train" not in datasets:
        problems.add("datasets", "the section train is missing")


def _check_dataset(context: Context, key: str, phase: str) -> None:
    import basicsr.data  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import DATASET_REGISTRY

    problems, path = context.problems, ("datasets", key)
    section = context.options["datasets"][key]
    if "type" not in section:
        problems.add((*path, "type"), "is missing")
        return
    cls = find(dict(iter(DATASET_REGISTRY)), section["type"], (*path, "type"), "dataset", problems)
    if cls is None:
        return
    part = Context(context.options, phase == "train", context.check_files, False, problems)
    declared = options_of_dataset(section["type"])
    check_keys(part, section, declared or DatasetOptions, path)
    _check_storage(context, section.get("io_backend"), (*path, "io_backend"))
    if section.get("persistent_workers") is True and section.get("num_worker_per_gpu", 2) == 0:
        problems.add(
            (*path, "persistent_workers"), "needs processes to keep; num_worker_per_gpu is 0"
        )
    if phase != "train" and section.get("on_bad_image") == "skip":
        problems.add(
            (*path, "on_bad_image"), "figures leave no picture out; skip is for a training"
        )
    if problems.under(path) or problems.under(("scale",)):
        return
    scale = context.options.get("scale") or 1
    if phase == "train":
        stage_checks.check_stages(context, section, declared, scale)
    if hasattr(cls, "check_options"):
        _ask(context, cls.check_options, {**section, "phase": phase, "scale": scale}, path)


def _check_storage(context: Context, io_backend: Any, path: Path) -> None:
    if not isinstance(io_backend, dict):
        return
    kind = io_backend.get("type")
    if kind not in IO_BACKENDS:
        choices = " or ".join(map(repr, IO_BACKENDS))
        context.problems.add((*path, "type"), f"must be {choices}, got {kind!r}")
    elif kind == "disk":
        for key in io_backend.keys() - {"type"}:
            context.problems.add((*path, key), "disk has no such argument")
