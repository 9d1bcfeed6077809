"""Finding weights by file or by name, and building the network they belong to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from torch import nn

from mambair.archs.registry import DetectionError, build_network, detect_network
from mambair.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_into,
    weights_of,
)

_SUFFIXES = (".safetensors", ".pth")

Task = Literal["sr", "jpeg", "denoising"]
SCALES = (2, 3, 4)
_PRETRAINED = "pretrained_models"


def find_weights(name: str | os.PathLike[str], root: str | os.PathLike[str] = ".") -> Path:
    """The weights file that a path or a name stands for.

    A name is looked for, under ``root``, as the experiment ``experiments/NAME/`` (its
    ``net_g_latest.pth``, or of an interrupted one the highest iteration), then as
    ``experiments/pretrained_models/NAME.safetensors`` or ``.pth``, then among the weights that this
    package brings along.

    Raises:
        CheckpointError: nothing found; says what there is.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    experiments = Path(root) / "experiments"
    trained = _latest_weights(experiments / path / "models")
    if trained is not None:
        return trained
    pretrained = experiments / _PRETRAINED
    for suffix in _SUFFIXES:
        candidate = pretrained / f"{name}{suffix}"
        if candidate.is_file():
            return candidate
    shipped = _shipped_weights()
    if str(name) in shipped:
        return shipped[str(name)]
    known = sorted(
        [each.parent.name for each in experiments.glob("*/models") if _latest_weights(each)]
        + [each.stem for each in pretrained.glob("*") if each.suffix in _SUFFIXES]
        + [each for each in shipped if not (pretrained / shipped[each].name).is_file()]
    )
    available = f"models known here: {', '.join(known)}" if known else "no model is known here"
    raise CheckpointError(f"{name}: is neither a weights file nor the name of a model; {available}")


def default_weights(task: Task = "sr", scale: int = 2) -> Path:
    """The weights of this project's own for a task.

    Args:
        task: ``sr`` (super-resolution by ``scale``), ``jpeg`` (artefacts) or ``denoising``.
        scale: 2, 3 or 4, for ``sr``.

    Raises:
        CheckpointError: there are none for this scale, or the package was installed without.
    """
    if task == "sr" and scale not in SCALES:
        raise CheckpointError(f"scale {scale}: there are weights for {SCALES}; name others by -w")
    name = f"tiny_x{scale}" if task == "sr" else f"tiny_{task}"
    # Not what has this name in the current directory: a training of it, say, that has just begun.
    shipped = _shipped_weights()
    if name not in shipped:
        raise CheckpointError(f"{name}: is missing from this installation of basicsr-mambair")
    return shipped[name]


def _shipped_weights() -> dict[str, Path]:
    """Name and file of the weights that come with this package: installed, or in its source."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / _PRETRAINED, package.parent / "experiments" / _PRETRAINED):
        found = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
        if found:
            return found
    return {}


def _latest_weights(folder: Path) -> Path | None:
    """The newest weights of an experiment's ``models`` folder."""
    iterations = {each.stem.removeprefix("net_g_"): each for each in folder.glob("net_g_*.pth")}
    if "latest" in iterations:
        return iterations["latest"]
    numbers = [int(stem) for stem in iterations if stem.isdigit()]
    return iterations[str(max(numbers))] if numbers else None


def load_network(
    path: str | os.PathLike[str], key: str = "params_ema"
) -> tuple[nn.Module, dict[str, Any]]:
    """Builds the network of a weights file, with those weights, in ``eval()``.

    Its configuration is the one in the file if the file was written by this package, otherwise the
    one detected from the tensors.

    Args:
        path: ``.pth`` or ``.safetensors``.
        key: entry that holds the weights; another usual one is taken if it is missing.

    Returns:
        The network and its ``network_g`` section.

    Raises:
        CheckpointError: the file cannot be read, or is of no network this package knows.
    """
    contents = load_checkpoint(path)
    weights, _ = weights_of(contents, path, key)
    section = contents.get("network")
    if not isinstance(section, dict):
        try:
            section = detect_network(weights)
        except DetectionError as error:
            raise CheckpointError(f"{path}: {error}") from error
    try:
        net = build_network(section)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the network in it cannot be built: {error}") from error
    if not hasattr(net, "upscale") or not hasattr(net, "in_chans"):
        raise CheckpointError(f"{path}: holds a {section['type']}, which restore does not know")
    load_into(net, weights, path)
    return net.eval(), section
