"""The networks by name: registering, finding, detecting and building them.

A network registers itself at its class, which says everything that the rest of the package asks:

- ``detect(state)``, a class method: the constructor arguments that a state dict belongs to, or
  ``None`` if it is another network's;
- ``in_chans`` and ``upscale``, attributes of an instance.

Other registries (BasicSR's) are asked for names that no class here has: installed packages announce
them as entry points of the group ``mambair.archs``, functions that return classes by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from torch import Tensor, nn

from mambair.errors import UserError
from mambair.signatures import did_you_mean

NetworkClass = TypeVar("NetworkClass", bound=type[nn.Module])

_classes: dict[str, type[nn.Module]] = {}
_followers: list[Callable[[type[nn.Module]], object]] = []
_ENTRY_POINTS = "mambair.archs"


class UnknownArchError(UserError, ValueError):
    """There is no network of that name."""


class DetectionError(UserError, ValueError):
    """The state dict belongs to no registered network."""


def register_arch(cls: NetworkClass) -> NetworkClass:
    """Class decorator: adds a network under its class name.

    Raises:
        ValueError: another class has that name.
    """
    other = _classes.get(cls.__name__)
    if other is not None and other is not cls:
        raise ValueError(
            f"{cls.__name__} of {cls.__module__}: {other.__module__} already has a network "
            "of that name"
        )
    if other is None:
        _classes[cls.__name__] = cls
        for follow in _followers:
            follow(cls)
    return cls


def follow_registrations(follow: Callable[[type[nn.Module]], object]) -> None:
    """Calls a function with every registered network: those there are, and each one to come.

    Other registries keep up with this one so.
    """
    _followers.append(follow)
    for cls in tuple(_classes.values()):
        follow(cls)


def registered_archs() -> tuple[type[nn.Module], ...]:
    """The classes that registered themselves, in order; not those of other registries."""
    return tuple(_classes.values())


def find_arch(name: str) -> type[nn.Module]:
    """The network class of that name.

    Raises:
        UnknownArchError: no registry has one; names the nearest.
    """
    if name in _classes:
        return _classes[name]
    known = set(_classes)
    for source in _sources():
        found = source()
        if name in found:
            cls: type[nn.Module] = found[name]
            return cls
        known.update(found)
    raise UnknownArchError(f"there is no network {name!r}{did_you_mean(str(name), known)}")


@cache
def _sources() -> tuple[Callable[[], Mapping[str, Any]], ...]:
    return tuple(entry.load() for entry in entry_points(group=_ENTRY_POINTS))


def build_network(section: Mapping[str, Any]) -> nn.Module:
    """The network of a ``network_g`` section, with initial weights.

    Args:
        section: ``type`` and constructor arguments.

    Raises:
        UnknownArchError: there is no such network.
        TypeError, ValueError: arguments that it does not take.
    """
    arguments = {key: value for key, value in section.items() if key != "type"}
    return find_arch(section["type"])(**arguments)


def detect_network(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The ``network_g`` section that builds the network of a state dict.

    What no tensor shows keeps its default: ``img_range`` (1 in every published network) and what
    only concerns running (``use_checkpoint``, ``routing``, …).

    Args:
        state: weights of a registered network.

    Returns:
        ``type`` and constructor arguments.

    Raises:
        DetectionError: no registered network has these keys, or some are missing.
    """
    for cls in _classes.values():
        try:
            arguments = cls.detect(state)  # type: ignore[operator]
        except (KeyError, ZeroDivisionError) as error:
            raise DetectionError(
                f"these weights of {cls.__name__} are incomplete: {error}"
            ) from error
        if arguments is not None:
            return {"type": cls.__name__, **arguments}
    raise DetectionError(f"these are not weights of {', '.join(_classes)}")
