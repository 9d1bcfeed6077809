"""Finding weights by file or by name, and building the network they belong to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from basicsr_mambair.archs import detection
from basicsr_mambair.checkpoint import CheckpointError, load_into, load_weights

_SUFFIXES = (".safetensors", ".pth")


def find_weights(name: str | os.PathLike[str], root: str | os.PathLike[str] = ".") -> Path:
    """The weights file that a path or a name stands for.

    A name is looked for, under ``root``, as the experiment ``experiments/NAME/`` (its latest
    weights), then as ``experiments/pretrained_models/NAME.safetensors`` or ``.pth``.

    Raises:
        CheckpointError: nothing found; says what there is.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    experiments = Path(root) / "experiments"
    named = experiments / path / "models" / "net_g_latest.pth"
    if named.is_file():
        return named
    pretrained = experiments / "pretrained_models"
    for suffix in _SUFFIXES:
        candidate = pretrained / f"{name}{suffix}"
        if candidate.is_file():
            return candidate
    known = sorted(
        [each.parent.parent.name for each in experiments.glob("*/models/net_g_latest.pth")]
        + [each.stem for each in pretrained.glob("*") if each.suffix in _SUFFIXES]
    )
    available = f"models known here: {', '.join(known)}" if known else "no model is known here"
    raise CheckpointError(f"{name}: is neither a weights file nor the name of a model; {available}")


def load_network(path: str | os.PathLike[str]) -> tuple[nn.Module, dict[str, Any]]:
    """Builds the network of a weights file, with those weights, in ``eval()``.

    Returns:
        The network and the ``network_g`` section that was detected.

    Raises:
        CheckpointError: the file cannot be read, or is of no network this package knows.
    """
    from basicsr.archs import ARCH_REGISTRY

    weights, _ = load_weights(path, "params_ema")
    try:
        section = detection.detect_network(weights)
    except detection.DetectionError as error:
        raise CheckpointError(f"{path}: {error}") from error
    arguments = {key: value for key, value in section.items() if key != "type"}
    net = ARCH_REGISTRY.get(section["type"])(**arguments)
    load_into(net, weights, path)
    return net.eval(), section
