"""Checks options before anything is built or written: everything that is wrong, at once.

Sections that BasicSR reads key by key are compared with their types
(:mod:`basicsr_mambair.options.sections`), those that go to a constructor with its signature. An
unknown key that resembles a known one is a problem; one that resembles none is reported, since the
models of other packages read keys of their own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from basicsr_mambair.options.calls import check_names
from basicsr_mambair.options.errors import Path, Problems, dotted
from basicsr_mambair.options.fields import fields_of
from basicsr_mambair.options.sections import (
    NETWORK_PATHS,
    DistributedOptions,
    LoggerOptions,
    NetworkPathOptions,
    PathOptions,
    PublishedOptions,
)
from basicsr_mambair.options.stock import STOCK_MODELS, ModelOptions
from mambair.signatures import did_you_mean, nearest_name


@dataclass
class Context:
    """The state shared by the checks of one file.

    Attributes:
        options: the options, complete; whole numbers written as ``5e5`` become such.
        is_train: for training; for testing otherwise.
        check_files: whether files, folders and packages that the options name must be there.
        fetch: whether weights that BasicSR would download during the run are fetched first.
        problems: the problems found so far.
    """

    options: dict[str, Any]
    is_train: bool
    check_files: bool
    fetch: bool
    problems: Problems

    @property
    def networks(self) -> list[str]:
        """The sections of networks."""
        return [key for key in self.options if is_network(key)]

    def section(self, *path: str) -> dict[str, Any] | None:
        """A section, or ``None`` after noting that it is missing or something else."""
        value: Any = self.options
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, dict):
            return value
        if self.problems.under(path):
            return None
        found = "missing" if value is None else repr(value)
        self.problems.add(path, f"must be a section of keys and values, is {found}")
        return None


def is_network(key: str) -> bool:
    """Returns whether a top-level key names a network: ``network_g``, ``network_d``, …"""
    return key.startswith("network_") and len(key) > len("network_")


def check_keys(
    context: Context,
    section: dict[str, Any],
    declaration: type,
    path: Path,
    *,
    also: Iterable[str] = (),
    elsewhere: Iterable[str] = (),
    required: bool = True,
    closed: bool = False,
) -> None:
    """Compares a section with its type.

    Args:
        context: the context of the file.
        section: the section.
        declaration: the dataclass.
        path: its place.
        also: further keys, which are checked elsewhere.
        elsewhere: keys that other models or datasets read; here they have no effect.
        required: whether keys can be missing at all.
        closed: whether every other key is a problem, not only what resembles a known one.
    """
    problems, fields = context.problems, fields_of(declaration)
    also, elsewhere = set(also), set(elsewhere)
    for name, field in fields.items():
        if name not in section:
            if required and field.is_required(context.is_train):
                typo = nearest_name(name, set(section) - set(fields) - also, 0.8)
                found = f" (found {typo!r})" if typo else ""
                problems.add((*path, name), f"is missing; must be {field.described()}{found}")
            continue
        problem = field.problem(section[name])
        if problem:
            problems.add((*path, name), problem)
            continue
        section[name] = field.converted(section[name])
        if field.section is not None and isinstance(section[name], dict):
            check_keys(context, section[name], field.section, (*path, name), closed=True)
    unknown = [key for key in section if key not in fields and key not in also]
    if closed:
        for key in unknown:
            problems.add((*path, key), f"unknown key{did_you_mean(str(key), fields)}")
        return
    for key in check_names(unknown, {*fields, *also, *elsewhere}, path, problems):
        warn(f"option {dotted((*path, key))} is not known to BasicSR and may have no effect")
    for key in unknown:
        if key in elsewhere:
            warn(f"option {dotted((*path, key))} is not read here and has no effect")


def warn(text: str) -> None:
    """Reports something that is not wrong, but may not be what was meant."""
    warnings.warn(text, stacklevel=2)


def check_plain_sections(context: Context, model: ModelOptions) -> None:
    """The sections that are read key by key, whatever is registered."""
    options, problems = context.options, context.problems
    networks = context.networks
    for key in model.networks:
        context.section(key)
    # A label of one letter is a network of its own kind; a longer one may be a slip.
    labelled = {key for key in networks if len(key) == len("network_x")} | {*model.networks}
    strange = check_names({*networks} - labelled, labelled, (), problems)
    check_keys(
        context,
        options,
        model.top,
        (),
        also={*networks, *labelled, *strange},
        elsewhere=keys_of_other_models("top"),
    )
    _check_paths(context, networks)
    if context.is_train:
        logger = context.section("logger")
        if logger is not None:
            check_keys(context, logger, LoggerOptions, ("logger",))
            _check_best(context, logger.get("keep_best"))
    if isinstance(options.get("published"), dict):
        check_keys(context, options["published"], PublishedOptions, ("published",))
    if isinstance(options.get("dist_params"), dict):
        check_keys(context, options["dist_params"], DistributedOptions, ("dist_params",))
    scale = options.get("scale")
    if "scale" in options and scale is None:
        problems.add("scale", "must be a whole number of at least 1, got null")


def _check_best(context: Context, metric: object) -> None:
    """The metric by which the best weights are kept must be measured."""
    val = context.options.get("val")
    metrics = val.get("metrics") if isinstance(val, dict) else None
    known = [*metrics] if isinstance(metrics, dict) else []
    datasets = context.options.get("datasets")
    validated = isinstance(datasets, dict) and any(str(key).startswith("val") for key in datasets)
    if not isinstance(metric, str) or (metric in known and validated):
        return
    text = f"val.metrics has no {metric!r}{did_you_mean(metric, known)}"
    context.problems.add(
        ("logger", "keep_best"), text if validated else "datasets has no section val to measure on"
    )


def keys_of_other_models(part: str) -> set[str]:
    """Keys that some model of BasicSR reads, in ``top``, ``train`` or ``val``."""
    return {key for model in STOCK_MODELS.values() for key in fields_of(getattr(model, part))}


def _check_paths(context: Context, networks: Iterable[str]) -> None:
    path = context.section("path")
    if path is None:
        return
    labels = [network.removeprefix("network_") for network in networks]
    of_networks = {
        f"{form}_{label}": field
        for form, field in fields_of(NetworkPathOptions).items()
        for label in labels
    }
    assert {*fields_of(NetworkPathOptions)} == {*NETWORK_PATHS}
    check_keys(context, path, PathOptions, ("path",), also=of_networks)
    for key, field in of_networks.items():
        problem = field.problem(path[key]) if key in path else None
        if problem:
            context.problems.add(("path", key), problem)
    for key, value in path.items():
        known = key in fields_of(PathOptions) or str(key).startswith(tuple(NETWORK_PATHS))
        if not known and not isinstance(value, str):
            text = f"unknown key, of whose value BasicSR makes a folder; {value!r} is none"
            context.problems.add(("path", key), text)


def has_truth(declaration: object, section: Mapping[str, Any]) -> bool:
    """Returns whether a dataset provides ground truth.

    Args:
        declaration: the type of its section. ``has_truth`` says so for all; ``truth_key`` names a
            key without which there is none.
        section: its section.
    """
    key = getattr(declaration, "truth_key", None)
    if key is not None:
        return bool(section.get(key))
    return bool(getattr(declaration, "has_truth", True))


def phases(is_train: bool) -> tuple[str, str]:
    """Returns the prefixes that the keys of ``datasets`` may have."""
    return ("train", "val") if is_train else ("test", "val")


def known_of(datasets: Mapping[str, Any]) -> list[str]:
    """Names of datasets as ``--only`` takes them: the name, or the key of the section."""
    return [str(each.get("name", key)) if isinstance(each, dict) else key
            for key, each in datasets.items()]  # fmt: skip
