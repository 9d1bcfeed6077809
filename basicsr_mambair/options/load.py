"""From an option file to checked options; nothing is built, written or launched here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basicsr_mambair.options.calls import lookup, resolved
from basicsr_mambair.options.checks import Context, is_network, warn
from basicsr_mambair.options.compose import (
    Composed,
    Options,
    apply_overrides,
    describe_source,
    read_composed,
    resolve_references,
)
from basicsr_mambair.options.errors import OptionError, Problem, Problems
from basicsr_mambair.options.fields import fields_of
from basicsr_mambair.options.pretrained import find_pretrained
from basicsr_mambair.options.progressive import complete_stages
from basicsr_mambair.options.sections import (
    CosineSchedule,
    LoggerOptions,
    PathOptions,
    TopOptions,
)
from basicsr_mambair.options.stock import STOCK_MODELS, options_of_model
from basicsr_mambair.registering import SUFFIX
from mambair.signatures import did_you_mean


def load_options(
    path: str | os.PathLike[str],
    *,
    is_train: bool,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    check_files: bool = True,
    fetch: bool = True,
) -> Options:
    """Reads, completes and checks an option file.

    Args:
        path: the YAML file.
        is_train: for training; for testing otherwise.
        overrides: ``KEY:KEY=VALUE`` entries that replace or add values, as of ``--force_yml``.
        only: names (or keys) of the datasets to keep; all, if empty.
        check_files: whether files, folders and packages that the options name must be there.
        fetch: whether weights that BasicSR would download in the middle of a run (VGG) are
            downloaded before it.

    Returns:
        The options, defaults filled in.

    Raises:
        OptionError: the file is missing or not valid YAML, or keys or values in it are wrong; it
            names all of them.
    """
    composed = _compose(Path(path), overrides)
    problems = Problems()
    try:
        resolve_references(composed.options, problems)
        _import_plugins(composed.options, problems)
        if not problems.under(("imports",)):
            if check_files:
                find_pretrained(composed.options)
            _check(composed.options, is_train, only, check_files, fetch, problems)
    except OptionError as error:  # raised by a part without access to the sources
        raise _with_sources(error.problems, composed, path) from error
    if problems:
        raise _with_sources(tuple(problems), composed, path)
    return composed.options


def load_any_options(path: str | os.PathLike[str]) -> Options:
    """Reads and checks an option file of either kind, without a look at the files it names.

    A file with a ``train`` section is one for training. Where BasicSR is not installed, only the
    networks of :mod:`mambair` are checked.

    Raises:
        OptionError: see :func:`load_options`.
    """
    if importlib.util.find_spec("basicsr") is None:
        return _load_networks(Path(path))
    is_train = is_training_file(path)
    return load_options(path, is_train=is_train, check_files=False, fetch=False)


def is_training_file(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file has a ``train`` section.

    Raises:
        OptionError: the file is missing or not valid YAML.
    """
    return "train" in read_composed(Path(path)).options


def _compose(path: Path, overrides: Sequence[str]) -> Composed:
    composed = read_composed(path)
    try:
        apply_overrides(composed, overrides, _top_keys())
    except OptionError as error:
        raise OptionError(
            *(Problem(p.path, p.text, f"{path}: {p.source}") for p in error.problems)
        ) from error
    return composed


def _top_keys() -> set[str]:
    tops = {model.top for model in STOCK_MODELS.values()} | {TopOptions}
    return {key for top in tops for key in fields_of(top)}


def _with_sources(
    problems: Sequence[Problem], composed: Composed, path: str | os.PathLike[str]
) -> OptionError:
    """The error of problems, each with the file and line that its value came from."""
    located = []
    for problem in problems:
        source = problem.source or describe_source(composed.sources, problem.path, str(path))
        if source.startswith("--force_yml"):
            source = f"{path}: {source}"
        located.append(Problem(problem.path, problem.text, source))
    return OptionError(*located)


def _import_plugins(options: Options, problems: Problems) -> None:
    from basicsr_mambair.plugins import PluginError, import_plugins

    field = fields_of(TopOptions)["imports"]
    problem = field.problem(options.get("imports"))
    if problem:
        problems.add("imports", problem)
        return
    try:
        import_plugins(options.get("imports") or ())
    except PluginError as error:
        problems.add("imports", str(error))


def _check(
    options: Options,
    is_train: bool,
    only: Sequence[str],
    check_files: bool,
    fetch: bool,
    problems: Problems,
) -> None:
    import basicsr  # noqa: F401  (fills the registries)

    from basicsr_mambair.options.registered import check_options

    _keep_only(options, only, problems)
    _complete(options, is_train)
    check_options(Context(options, is_train, check_files, fetch, problems))


def _keep_only(options: Options, only: Sequence[str], problems: Problems) -> None:
    datasets = options.get("datasets")
    if not only or not isinstance(datasets, dict):
        return
    wanted = [name for entry in only for name in entry.split(",") if name]
    names = {key: {key, str(each.get("name", key)) if isinstance(each, dict) else key}
             for key, each in datasets.items()}  # fmt: skip
    for name in wanted:
        if not any(name in each for each in names.values()):
            known = sorted({name for each in names.values() for name in each})
            text = f"--only {name}: no dataset has this name{did_you_mean(name, known)}"
            problems.add("datasets", text)
    options["datasets"] = {
        key: each for key, each in datasets.items() if names[key] & set(wanted)
    } or datasets


def _complete(options: Options, is_train: bool) -> None:
    """Fills in what is read without asking whether it is there."""
    _fill(options, TopOptions)
    _fill(_made(options, "path"), PathOptions)
    _resolve_model(options)
    model = _model_options(options)
    if is_train:
        _fill(_made(options, "logger"), LoggerOptions)
        _complete_scheduler(options.get("train"))
    elif options.get("val") is None:
        options["val"] = {}
    val = options.get("val")
    if isinstance(val, dict):
        val.setdefault("save_img", not is_train)
        _fill(val, model.val)
        if not is_train:
            val.setdefault("suffix", None)
    datasets = options.get("datasets")
    for key, dataset in datasets.items() if isinstance(datasets, dict) else ():
        if isinstance(dataset, dict):
            _complete_dataset(options, key, dataset)
    _drop_ignored_arguments(options)


def _made(options: Options, key: str) -> Any:
    """A section, made if it is missing; what is not a section is left for the check to name."""
    if options.get(key) is None:
        options[key] = {}
    return options[key]


def _fill(section: Any, declaration: type) -> None:
    if isinstance(section, dict):
        for name, field in fields_of(declaration).items():
            if field.filled:
                section.setdefault(name, field.default)


def _model_options(options: Options) -> Any:
    from basicsr.utils.registry import MODEL_REGISTRY

    model = lookup(MODEL_REGISTRY, options.get("model_type"))
    return options_of_model(model or object)[0]


def _complete_scheduler(train: Any) -> None:
    """One cosine over the whole training, unless periods are given; weights of 1."""
    section = train.get("scheduler") if isinstance(train, dict) else None
    if not isinstance(section, dict):
        return
    kind = section.get("type")
    if kind not in ("CosineAnnealingRestartLR", "CosineAnnealingRestartCyclicLR"):
        return
    field, total = fields_of(CosineSchedule)["periods"], train.get("total_iter")
    one = kind == "CosineAnnealingRestartLR" and field.problem([total]) is None
    if "periods" not in section and one:
        section["periods"] = field.converted([total])
    if isinstance(section.get("periods"), list):
        section.setdefault("restart_weights", [1] * len(section["periods"]))


def _complete_dataset(options: Options, key: str, dataset: Options) -> None:
    from basicsr_mambair.options.registered import options_of_dataset

    dataset.setdefault("name", key)
    _resolve_dataset(key, dataset)
    if dataset.get("type") == "PairedImageDataset" and _wants_own_pairs(options, dataset):
        dataset["type"] = "MambaIRPairedDataset"
    if dataset.get("io_backend") is None:
        dataset["io_backend"] = {}
    if isinstance(dataset["io_backend"], dict):
        dataset["io_backend"].setdefault("type", "disk")
    declared = options_of_dataset(dataset.get("type"))
    if declared is not None:
        _fill(dataset, declared)
    if key == "train":
        complete_stages(dataset)
        dataset.setdefault("dataset_enlarge_ratio", 1)
        dataset.setdefault("num_worker_per_gpu", 2)
        for name in ("use_hflip", "use_rot"):
            if declared is None or name in fields_of(declared):
                dataset.setdefault(name, True)


def _resolve_model(options: Options) -> None:
    from basicsr.utils.registry import MODEL_REGISTRY

    _resolve(options, "model_type", MODEL_REGISTRY, "model_type")


def _resolve_dataset(key: str, dataset: Options) -> None:
    from basicsr.utils.registry import DATASET_REGISTRY

    _resolve(dataset, "type", DATASET_REGISTRY, f"datasets.{key}.type")


def _resolve(section: Options, key: str, registry: Any, place: str) -> None:
    """Writes out which of the classes of Real-ESRGAN's names is meant, for BasicSR's registry."""
    name = section.get(key)
    found = resolved(registry, name)
    if found is None or not isinstance(name, str):
        return
    own = f"{name}_{SUFFIX}"
    if own == found:
        section[key] = own
    elif own in registry:
        module = registry.get(found).__module__
        warn(f"option {place}: {name} is that of {module}; {own} would be this project's")


def _wants_own_pairs(options: Options, dataset: Options) -> bool:
    """Returns whether ``type: PairedImageDataset`` means that of the published MambaIR files.

    It does where the model is one of this package, or where a key or value is used that BasicSR's
    own class of that name does not read. Every other file gets BasicSR's class.
    """
    from basicsr.utils.registry import MODEL_REGISTRY

    model = lookup(MODEL_REGISTRY, options.get("model_type"))
    return (
        (model is not None and model.__module__.startswith("basicsr_mambair."))
        or "task" in dataset
        or "noise" in dataset
        or isinstance(dataset.get("dataroot_gt"), list)
        or isinstance(dataset.get("dataroot_lq"), list)
    )


def _drop_ignored_arguments(options: Options) -> None:
    """Published files of MambaIR name ``window_size``, which its published class ignores."""
    for key in filter(is_network, options):
        section = options[key]
        is_mambair = isinstance(section, dict) and section.get("type") == "MambaIR"
        if is_mambair and "window_size" in section:
            del section["window_size"]
            warn(f"option {key}.window_size: MambaIR has no windows; the key is ignored")


def _load_networks(path: Path) -> Options:
    """The options of a file, with its networks checked, where BasicSR cannot be imported."""
    from basicsr_mambair.options.calls import check_arguments
    from basicsr_mambair.options.checks import is_network
    from basicsr_mambair.options.registered import check_built
    from mambair.archs.registry import UnknownArchError, find_arch

    composed, problems = read_composed(path), Problems()
    options = composed.options
    resolve_references(options, problems)
    _import_plugins(options, problems)
    _drop_ignored_arguments(options)
    context = Context(options, False, False, False, problems)
    fields = fields_of(TopOptions)
    for name in ("name", "scale"):
        problem = fields[name].problem(options[name]) if name in options else None
        if problem:
            problems.add(name, problem)
    if "name" not in options:
        problems.add("name", f"is missing; must be {fields['name'].described()}")
    for key in [*filter(is_network, options)] or ["network_g"]:
        section = context.section(key)
        if section is None:
            continue
        try:
            cls = find_arch(str(section.get("type")))
        except UnknownArchError as error:
            problems.add((key, "type"), f"{error}; BasicSR, which has more, is not installed")
            continue
        check_arguments(section, cls, (key,), problems)
        if not problems.under((key,)):
            check_built(context, key, cls, options.get("scale"))
    if problems:
        raise _with_sources(tuple(problems), composed, path)
    return options
