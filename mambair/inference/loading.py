"""From a weights file to the network in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from mambair.archs.contract import Contract, contract_of
from mambair.archs.registry import (
    DetectionError,
    build_network,
    build_on_meta,
    detect_network,
)
from mambair.checkpoint import (
    SECTION_KEY,
    check_fits,
    load_checkpoint,
    load_into,
    weights_of,
    without_prefixes,
)
from mambair.errors import CheckpointError

_PARTS = 10  # modules and parameters that a network registers for each of its weights, at most


def load_network(
    path: str | os.PathLike[str], key: str = "params_ema"
) -> tuple[nn.Module, dict[str, Any]]:
    """Builds the network of a weights file, with those weights, in ``eval()``.

    Its configuration is the one in the file, if the file holds one (what ``basicsr train`` and
    ``basicsr export`` write does), otherwise the one detected from the tensors.

    Args:
        path: ``.pth`` or ``.safetensors``.
        key: entry that holds the weights; another usual one is taken if it is missing.

    Returns:
        The network and its ``network_g`` section.

    Raises:
        CheckpointError: the file cannot be read, or is not of a network known here.

    Examples:
        >>> from mambair.inference.loading import load_network
        >>> from mambair.inference.weights import find_weights
        >>> net, section = load_network(find_weights("tiny_x3"))
        >>> section["type"], net.upscale
        ('MambaIRv2Light', 3)
    """
    weights, section = read_network(path, key)
    return network_of(weights, section, path), section


def network_of(
    weights: Mapping[str, Tensor], section: Mapping[str, Any], path: str | os.PathLike[str]
) -> nn.Module:
    """Builds the network of a section, with these weights, in ``eval()``.

    Args:
        weights: a state dict.
        section: ``type`` and constructor arguments.
        path: the file that both came from, for messages.

    Raises:
        CheckpointError: the network cannot be built, or the weights do not fit it.
    """
    net = _build(build_network, section, path)
    load_into(net, weights, path)
    return net.eval()


@dataclass(frozen=True)
class ModelDescription:
    """The contents of a weights file.

    Attributes:
        section: the ``network_g`` section that builds the network.
        contract: channels, scale, and the sizes that the network accepts.
        parameters: trainable numbers.
    """

    section: dict[str, Any]
    contract: Contract
    parameters: int


def describe_model(path: str | os.PathLike[str]) -> ModelDescription:
    """Describes the contents of a weights file; no memory is allocated for the network.

    Raises:
        CheckpointError: see :func:`load_network`.
        ContractError: the network does not restore single pictures.
    """
    _, section = read_network(path)
    net = _build(build_on_meta, section, path)
    parameters = sum(each.numel() for each in net.parameters() if each.requires_grad)
    return ModelDescription(section, contract_of(net), parameters)


def read_network(
    path: str | os.PathLike[str],
    key: str = "params_ema",
    detect: Callable[[Mapping[str, Tensor]], dict[str, Any]] = detect_network,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads weights, and the ``network_g`` section that builds their network.

    Args:
        path: ``.pth`` or ``.safetensors``.
        key: entry that holds the weights; another usual one is taken if it is missing.
        detect: makes the section of a file that holds none from its weights, or raises
            :class:`DetectionError`.

    Raises:
        CheckpointError: the file cannot be read, or is not of a network known here.
    """
    contents = load_checkpoint(path)
    weights, _ = weights_of(contents, path, key)
    section = contents.get(SECTION_KEY)
    if isinstance(section, Mapping) and "type" in section:
        # Before memory is allocated: a section may ask for any amount of it.
        with _at_most(_PARTS * (len(weights) + 100)):
            net = _build(build_on_meta, section, path)
        check_fits(net, weights, path)
        return weights, dict(section)
    return _detect(weights, path, detect)


@contextmanager
def _at_most(parts: int) -> Iterator[None]:
    """Ends the building of a network in this thread that registers more parts than it could have.

    A section may ask for 10¹² layers, which would be built until memory is full, on ``meta`` too.
    """
    thread, registered = threading.get_ident(), 0

    def register(*_: Any) -> None:
        nonlocal registered
        registered += threading.get_ident() == thread
        if registered > parts:
            raise ValueError("its section asks for far more layers than the file has weights for")

    handles = [
        register_module_module_registration_hook(register),
        register_module_parameter_registration_hook(register),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _build(
    build: Callable[[Mapping[str, Any]], nn.Module],
    section: Mapping[str, Any],
    path: str | os.PathLike[str],
) -> nn.Module:
    try:
        return build(section)
    except Exception as error:  # a foreign constructor may raise anything
        reason = str(error).partition("Exception raised from")[0].strip()  # torch's own frames
        raise CheckpointError(
            f"{path}: holds a {section['type']}, which cannot be built: {reason}"
        ) from error


def _detect(
    weights: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    detect: Callable[[Mapping[str, Tensor]], dict[str, Any]],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights without a prefix that is not the network's own, and the section that builds it."""
    first: DetectionError | None = None
    for state in without_prefixes(weights):
        try:
            return state, detect(state)
        except DetectionError as error:
            first = first or error
    names = ", ".join([*weights][:3])
    raise CheckpointError(
        f"{path}: {first}, and the file holds no section {SECTION_KEY!r} that names another "
        f"network, as files of 'basicsr train' do; its keys are {names}, …"
    ) from first
