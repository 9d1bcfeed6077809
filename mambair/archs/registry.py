"""The networks by name: registering, finding, detecting and building them.

A network registers itself at its class, which states everything that the rest of the package needs:

- ``detect(state)``, a class method: the constructor arguments that a state dict belongs to, or
  ``None`` if it is another network's. A class need not have it; its files must then hold the
  section that builds it, which training writes into them;
- ``in_chans`` and ``upscale``, attributes of an instance, and ``size_multiple``, of which the sides
  of its input must be multiples (see :mod:`mambair.archs.contract`).

Other registries (BasicSR's) are asked for names that no class here has: installed packages announce
them as entry points of the group ``mambair.archs``, functions that return classes by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mambair.errors import UserError
from mambair.signatures import did_you_mean

NetworkClass = TypeVar("NetworkClass", bound=type[nn.Module])

_classes: dict[str, type[nn.Module]] = {}
_listeners: list[Callable[[type[nn.Module]], Any]] = []
_ENTRY_POINTS = "mambair.archs"


class UnknownArchError(UserError, ValueError):
    """No network has that name."""


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
        for listener in _listeners:
            listener(cls)
    return cls


def for_every_arch(listener: Callable[[type[nn.Module]], Any]) -> None:
    """Calls a function with every class that has registered itself or ever will."""
    _listeners.append(listener)
    for cls in tuple(_classes.values()):
        listener(cls)


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
    sources = []
    for entry in entry_points(group=_ENTRY_POINTS):
        try:
            sources.append(entry.load())
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == entry.module.split(".")[0]:
                raise
            # A registry whose package is not installed (BasicSR, on Python 3.13) has no networks.
    return tuple(sources)


def build_network(section: Mapping[str, Any]) -> nn.Module:
    """The network of a ``network_g`` section, with initial weights.

    Args:
        section: ``type`` and constructor arguments.

    Raises:
        UnknownArchError: there is no such network.
        TypeError, ValueError: arguments that it does not accept.

    Examples:
        >>> from mambair.archs.registry import build_network
        >>> net = build_network({"type": "MambaIRv2Light", "depths": [1], "num_heads": [4]})
        >>> net.in_chans, net.upscale
        (3, 1)
    """
    arguments = {key: value for key, value in section.items() if key != "type"}
    return find_arch(section["type"])(**arguments)


def build_on_meta(section: Mapping[str, Any]) -> nn.Module:
    """The network of a section on torch's ``meta`` device: shapes without numbers.

    Raises:
        UnknownArchError, TypeError, ValueError: see :func:`build_network`.
    """
    try:
        with torch.device("meta"):
            return build_network(section)
    except Exception:  # a constructor that looks at its values, or that truly fails
        return build_network(section).to("meta")


def detect_network(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The ``network_g`` section that builds the network of a state dict.

    Arguments that no tensor shows keep their defaults: ``img_range`` (1 in every published
    network) and those that only concern running (``use_checkpoint``, ``routing``, …).

    Args:
        state: weights of a registered network.

    Returns:
        ``type`` and constructor arguments.

    Raises:
        DetectionError: no registered network has these keys, or some are missing.

    Examples:
        >>> from mambair.archs import MambaIR
        >>> from mambair.archs.registry import detect_network
        >>> net = MambaIR(embed_dim=30, depths=[1, 1], upsampler="pixelshuffledirect", upscale=3)
        >>> section = detect_network(net.state_dict())
        >>> section["type"], section["depths"], section["upscale"]
        ('MambaIR', [1, 1], 3)
    """
    for cls in _classes.values():
        detect: Callable[[Mapping[str, Tensor]], dict[str, Any] | None] | None
        detect = getattr(cls, "detect", None)
        if detect is None:
            continue
        try:
            arguments = detect(state)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise DetectionError(
                f"these weights of {cls.__name__} are incomplete: {error}"
            ) from error
        if arguments is not None:
            return {"type": cls.__name__, **arguments}
    raise DetectionError(f"these are not weights of {', '.join(_classes)}")


def describe_weights(state: Mapping[str, Tensor]) -> str | None:
    """The network that weights belong to, for a message; ``None`` if it is not recognized."""
    try:
        section = detect_network(state)
    except DetectionError:
        return None
    described = ", ".join(f"{key}: {value!r}" for key, value in section.items())
    return f"a network of its own kind: {{{described}}}"
