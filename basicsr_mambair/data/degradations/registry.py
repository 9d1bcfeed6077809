"""Degradations by the names that option files use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from basicsr_mambair.data.degradations.chain import Chain
from basicsr_mambair.data.degradations.degradation import Degradation
from mambair.signatures import did_you_mean, parameter_names, required_names, suggests_arguments

DegradationClass = TypeVar("DegradationClass", bound=type[Degradation])

DEGRADATIONS: dict[str, type[Degradation]] = {}


def register_degradation(name: str) -> Callable[[DegradationClass], DegradationClass]:
    """Class decorator that lets option files select it by ``degradation: {type: NAME, …}``.

    An argument that the constructor does not accept becomes an error that names the nearest one.

    Raises:
        ValueError: another class has that name.
    """

    def register(cls: DegradationClass) -> DegradationClass:
        other = DEGRADATIONS.get(name)
        if other is not None and other is not cls:
            raise ValueError(
                f"{cls.__name__} of {cls.__module__}: {other.__module__} already has a "
                f"degradation {name!r}"
            )
        DEGRADATIONS[name] = suggests_arguments(cls)
        return cls

    return register


def build_degradation(options: Mapping[str, Any] | Sequence[Any] | str, scale: int) -> Degradation:
    """Builds a degradation from ``{type: …, …}``, or a chain from a list.

    Args:
        options: ``type`` and the constructor's arguments; a name alone is its ``type``; a list of
            these is applied in order.
        scale: scale of the dataset; passed to a degradation that has an argument of that name,
            unless its options set it.

    Raises:
        ValueError: unknown type or argument; names the nearest.
    """
    if isinstance(options, Sequence) and not isinstance(options, str):
        return Chain([build_degradation(each, scale) for each in options])
    if not isinstance(options, (str, Mapping)):
        raise ValueError(f"must be a section with a type, got {options!r}")
    arguments: dict[str, Any] = {"type": options} if isinstance(options, str) else dict(options)
    name = arguments.pop("type", None)
    if not isinstance(name, str) or name not in DEGRADATIONS:
        raise ValueError(
            f"type: there is no degradation {name!r}{did_you_mean(str(name), DEGRADATIONS)}"
        )
    cls = DEGRADATIONS[name]
    if "scale" in (parameter_names(cls) or ()):
        arguments.setdefault("scale", scale)
    try:
        return cls(**arguments)
    except TypeError as error:
        missing = sorted(required_names(cls) - set(arguments))
        unknown = set(arguments) - (parameter_names(cls) or set())
        if missing and not unknown:
            raise ValueError(f"{missing[0]}: is missing; {name} needs it") from error
        raise ValueError(str(error)) from error


def build_part(
    part: Degradation | Mapping[str, Any] | Sequence[Any] | str, scale: int, name: str
) -> Degradation:
    """Builds a degradation that is an argument of another one, unless it is built already.

    Args:
        part: the degradation or its options.
        scale: as in :func:`build_degradation`.
        name: place of the argument, with which the message of an error begins.

    Raises:
        ValueError: as in :func:`build_degradation`.
    """
    if isinstance(part, Degradation):
        return part
    try:
        return build_degradation(part, scale)
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from error
