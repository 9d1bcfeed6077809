"""Sections bound to the signature of a constructor: networks, optimizers, losses, metrics.

Names come from the signature, types from its annotations, or from the defaults where there are
none; a number whose default is above 0 cannot be negative.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from basicsr_mambair.options.errors import Path, Problems
from basicsr_mambair.options.values import ANY, Range, accept, is_checkable, problem_with
from basicsr_mambair.registering import SUFFIX
from mambair.signatures import (
    did_you_mean,
    named_parameters,
    nearest_name,
    parameter_names,
    required_names,
)

SIMILAR = 0.8
# Numbers that no signature limits: beyond them an option is a slip, and building would not end.
_LARGEST = {int: 10**6, float: 10**6}
_LIMITS = {
    "lr": Range(gt=0, le=100),
    "weight_decay": Range(ge=0, le=100),
    "eps": Range(gt=0, le=1),
    "img_range": Range(gt=0, le=10**6),
    "mlp_ratio": Range(gt=0, le=1000),
    "sigma": Range(ge=0, le=255),
    "quality": Range(ge=1, le=100),
    "depths": Range(ge=1, le=1000),
    "num_in_ch": Range(ge=1, le=10**4),
    "num_out_ch": Range(ge=1, le=10**4),
    "upscale": Range(ge=1, le=64),
    "scale": Range(ge=1, le=64),
    "drop_path_rate": Range(ge=0, lt=1),
}
# Arguments of BasicSR's networks that have neither annotation nor default.
_KINDS = {"num_in_ch": int, "num_out_ch": int}


@dataclass(frozen=True)
class Parameter:
    """An argument of a constructor.

    Attributes:
        name: its name.
        kind: its type as :mod:`basicsr_mambair.options.values` has them; ``Any`` if unknown.
        range: limits of its numbers.
        default: its default; ``inspect.Parameter.empty`` without one.
    """

    name: str
    kind: Any
    range: Range
    default: Any

    def problem(self, value: Any) -> str | None:
        """Describes the fault of a value; ``None`` if there is none."""
        if value == self.default and type(value) is type(self.default):
            return None
        return problem_with(self.kind, value, self.range) if is_checkable(self.kind) else None


def parameters_of(target: Callable[..., Any]) -> dict[str, Parameter]:
    """The arguments of a class or function that a section can name."""
    function = target.__init__ if inspect.isclass(target) else target
    function = inspect.unwrap(function)
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers alone
        hints = {}
    signature = inspect.signature(function)
    found = {}
    for name in named_parameters(target):
        default = signature.parameters[name].default
        kind = hints.get(name) or _KINDS.get(name) or _kind_of(default)
        found[name] = Parameter(name, kind, _range_of(name, kind, default), default)
    return found


def _kind_of(default: Any) -> Any:
    """The type of an argument without annotation, as far as its default tells it."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, (int, float)):  # res_scale=1 takes 0.1 as well
        return float
    if isinstance(default, str):
        return str | None
    if isinstance(default, (list, tuple)) and default:
        kinds = {type(each) for each in default}
        if kinds <= {int, float}:
            return list[float]
    return Any


def _range_of(name: str, kind: Any, default: Any) -> Range:
    if name in _LIMITS:
        return _LIMITS[name]
    first = default[0] if isinstance(default, (list, tuple)) and default else default
    whole = int in typing.get_args(kind) or kind is int or isinstance(first, int)
    if isinstance(first, bool) or not isinstance(first, (int, float)):
        return Range(ge=0, le=_LARGEST[int]) if kind is int else Range(le=_LARGEST[float])
    if first < 0:
        return ANY
    if whole and first >= 1 and not isinstance(first, float):
        return Range(gt=0, le=_LARGEST[int])
    return Range(ge=0, le=_LARGEST[float])


def resolved(registry: Any, name: Any) -> str | None:
    """The name under which a registry has what an option file means; ``None`` if it has nothing.

    A plain name that some package registers is that package's. Real-ESRGAN's names are also those
    of classes of this project and of BasicSR, registered with a suffix: this project's come first.
    """
    entries = dict(iter(registry)) if not isinstance(registry, dict) else registry
    if not isinstance(name, str):
        return None
    candidates = (name, f"{name}_{SUFFIX}", f"{name}_basicsr")
    return next((each for each in candidates if each in entries), None)


def plain_name(name: str) -> str:
    """A name in a registry as option files write it, without the suffix of a package."""
    return name.removesuffix(f"_{SUFFIX}").removesuffix("_basicsr")


def lookup(registry: Any, name: Any) -> Any | None:
    """Looks up a name in a registry, with or without a suffix; ``None`` if missing."""
    entries = dict(iter(registry)) if not isinstance(registry, dict) else registry
    found = resolved(entries, name)
    return None if found is None else entries[found]


def find(
    registry: dict[str, Any], name: Any, path: Path, kind: str, problems: Problems
) -> Any | None:
    """The object of that name; notes a problem if there is none."""
    found = lookup(registry, name)
    if found is None:
        names = sorted({plain_name(key) for key in registry})
        problems.add(path, f"there is no {kind} {name!r}{_where_else(str(name), names, kind)}")
    return found


def _where_else(name: str, names: list[str], kind: str) -> str:
    nearest = nearest_name(name, names, SIMILAR)
    if nearest is not None:
        return f"; did you mean {nearest!r}?"
    known = f"; known are {', '.join(names)}" if len(names) <= 12 else ""
    article = "an" if kind[0] in "aeiou" else "a"
    return (
        f"{known}; {article} {kind} of your own or of another package needs the module that "
        "registers it: imports: [my_package.my_module]"
    )


def check_call(
    section: Any,
    registry: dict[str, Any],
    path: Path,
    kind: str,
    problems: Problems,
    given: tuple[str, ...] = (),
) -> Any | None:
    """Checks a section with ``type`` and arguments.

    Args:
        section: the section.
        registry: the entries that ``type`` can name.
        path: its place.
        kind: noun for an entry of the registry, for messages.
        problems: list that problems are added to.
        given: arguments that the caller supplies.

    Returns:
        What ``type`` names; ``None`` if it names nothing.
    """
    if not isinstance(section, dict):
        problems.add(path, f"must be a section of keys and values, is {section!r}")
        return None
    if "type" not in section:
        problems.add((*path, "type"), "is missing")
        return None
    target = find(registry, section["type"], (*path, "type"), kind, problems)
    if target is not None:
        check_arguments(section, target, path, problems, given)
    return target


def check_arguments(
    section: dict[str, Any],
    target: Callable[..., Any],
    path: Path,
    problems: Problems,
    given: tuple[str, ...] = (),
) -> None:
    """Binds a section's keys to a signature; whole numbers written as ``5e5`` become such."""
    own = {key for key in section if key != "type" and key not in given}
    parameters = parameters_of(target)
    for key in sorted(required_names(target) - own - set(given)):
        typo = nearest_name(key, own - set(parameters), SIMILAR)
        found = f" (found {typo!r})" if typo else ""
        problems.add((*path, key), f"is missing; {target.__name__} needs it{found}")
    takes_any = parameter_names(target) is None
    for key in section:
        if key not in own:
            continue
        if key in parameters:
            problem = parameters[key].problem(section[key])
            if problem:
                problems.add((*path, key), problem)
            elif is_checkable(parameters[key].kind):
                section[key] = accept(parameters[key].kind, section[key], parameters[key].range)[1]
        elif not takes_any:
            hint = did_you_mean(key, set(parameters) - set(given))
            problems.add((*path, key), f"{target.__name__} has no such argument{hint}")
    if takes_any:  # what resembles a name is a typo
        check_names(own, {*parameters, *given}, path, problems)


def check_names(
    keys: Iterable[str], known: Iterable[str], path: Path, problems: Problems
) -> list[str]:
    """Notes keys that resemble a known one; returns those that resemble none."""
    known = set(known)
    strange = []
    for key in keys:
        if key in known:
            continue
        nearest = nearest_name(key, known, SIMILAR)
        # A number more or less names another thing of the same kind: resize_prob2.
        if nearest is not None and _without_digits(nearest) != _without_digits(key):
            problems.add((*path, key), f"unknown key; did you mean {nearest!r}?")
        else:
            strange.append(key)
    return strange


def _without_digits(key: str) -> str:
    return re.sub(r"\d", "", key)
