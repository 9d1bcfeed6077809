"""Finding weights by file, by name or by task; nothing is read here, and torch is not needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from mambair.errors import CheckpointError

_SUFFIXES = (".safetensors", ".pth")

Task = Literal["sr", "jpeg", "denoising", "camera", "photo"]
# The weights that come with this package, by task and scale; the first scale is the default.
OWN_WEIGHTS: dict[Task, dict[int, str]] = {
    "sr": {2: "tiny_x2", 3: "tiny_x3", 4: "tiny_x4"},
    "jpeg": {1: "tiny_jpeg"},
    "denoising": {1: "tiny_denoising"},
    "camera": {1: "tiny_camera"},
    "photo": {2: "tiny_photo_x2", 1: "tiny_photo_x1", 4: "tiny_photo_x4"},
}
_EXPERIMENTS = "experiments"
_PRETRAINED = "pretrained_models"


def find_weights(name: str | os.PathLike[str], root: str | os.PathLike[str] = ".") -> Path:
    """Finds the weights file for a path or a name.

    A name is looked for, under ``root``, as the experiment ``experiments/NAME/`` (its
    ``net_g_latest.pth`` or ``.safetensors``, or of an interrupted one the highest iteration), then
    as ``experiments/pretrained_models/NAME.safetensors`` or ``.pth``, then among the weights that
    this package brings along. A path ``experiments/pretrained_models/NAME.safetensors`` that does
    not exist is looked for among them too: option files name weights in this way.

    Args:
        name: name of a model, or path of a file.
        root: the folder that holds ``experiments/``.

    Raises:
        CheckpointError: nothing found; says what there is.

    Examples:
        >>> from mambair.inference.weights import find_weights
        >>> find_weights("tiny_x2").name
        'tiny_x2.safetensors'
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if not path.is_absolute() and (Path(root) / path).is_file():
        return Path(root) / path
    local = local_models(root)
    if str(name) in local:
        return local[str(name)]
    shipped = shipped_models()
    known_as = path.stem if path.suffix in _SUFFIXES and path.parent.name == _PRETRAINED else name
    if str(known_as) in shipped:
        return shipped[str(known_as)]
    known = [*local, *(each for each in shipped if each not in local)]
    available = f"models known here: {', '.join(sorted(known))}" if known else "no model is known"
    raise CheckpointError(f"{name}: is neither a weights file nor the name of a model; {available}")


def name_of_weights(path: Path) -> str:
    """The name of the model in a weights file: the experiment's, or that of the file.

    Examples:
        >>> from pathlib import Path
        >>> from mambair.inference.weights import name_of_weights
        >>> name_of_weights(Path("experiments/mine/models/net_g_latest.pth"))
        'mine'
        >>> name_of_weights(Path("downloads/mambairv2_x2.pth"))
        'mambairv2_x2'
    """
    resolved = path.resolve()
    if resolved.parent.name == "models" and resolved.stem.startswith("net_g_"):
        return resolved.parents[1].name
    return path.stem


def default_weights(task: Task | None = None, scale: int | None = None) -> Path:
    """The weights of this project's own for a task.

    Args:
        task: ``"sr"`` (super-resolution of clean pictures, the default), ``"jpeg"`` (artifacts),
            ``"denoising"`` (even, Gaussian noise), ``"camera"`` (noise of a camera, stronger in
            the light), or ``"photo"`` (everyday photographs: compressed, a little noisy).
        scale: 2 (the default), 3 or 4 for ``"sr"``; 2 (the default), 1 or 4 for ``"photo"``.

    Raises:
        CheckpointError: there are none for this task or scale, or the package was installed
            without.
    """
    task = task or "sr"
    if task not in OWN_WEIGHTS:
        raise CheckpointError(f"task {task!r}: must be one of {', '.join(OWN_WEIGHTS)}")
    by_scale = OWN_WEIGHTS[task]
    scale = next(iter(by_scale)) if scale is None else scale
    if scale not in by_scale:
        scales = ", ".join(map(str, sorted(by_scale)))
        raise CheckpointError(
            f"scale {scale!r}: task {task!r} has weights for scale {scales}; name other weights "
            "instead of a task"
        )
    name = by_scale[scale]
    # Never a model of this name in the current directory, which may be a training just begun.
    shipped = shipped_models()
    if name not in shipped:
        raise CheckpointError(f"{name}: is missing from this installation of basicsr-mambair")
    return shipped[name]


def list_models(root: str | os.PathLike[str] = ".") -> list[str]:
    """The names of models that :func:`mambair.load` accepts.

    Args:
        root: the folder that holds ``experiments/``.

    Returns:
        The weights that come with this package, then those under ``root``: experiments, and files
        in ``experiments/pretrained_models/``.

    Examples:
        >>> import mambair
        >>> mambair.list_models()[:4]
        ['tiny_camera', 'tiny_denoising', 'tiny_jpeg', 'tiny_photo_x1']
    """
    return list(dict.fromkeys([*shipped_models(), *local_models(root)]))


def local_models(root: str | os.PathLike[str] = ".") -> dict[str, Path]:
    """Name and file of the experiments and the pretrained models under a folder."""
    experiments = Path(root) / _EXPERIMENTS
    found: dict[str, Path] = {}
    for suffix in reversed(_SUFFIXES):
        for path in sorted((experiments / _PRETRAINED).glob(f"*{suffix}")):
            found[path.stem] = path
    for folder in sorted(experiments.glob("*/models")):
        trained = _latest_weights(folder)
        if trained is not None:  # an experiment goes before a file of the same name
            found[folder.parent.name] = trained
    return found


def shipped_models() -> dict[str, Path]:
    """Name and file of the weights that come with this package: installed, or in its source."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / _PRETRAINED, package.parent / _EXPERIMENTS / _PRETRAINED):
        found = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
        if found:
            return found
    return {}


def _latest_weights(folder: Path) -> Path | None:
    """The newest weights of an experiment's ``models`` folder."""
    files = sorted(each for suffix in _SUFFIXES for each in folder.glob(f"net_g_*{suffix}"))
    # A .pth, if there are both: it also holds the weights without average.
    iterations = {each.stem.removeprefix("net_g_"): each for each in reversed(files)}
    if "latest" in iterations:
        return iterations["latest"]
    numbers = [int(stem) for stem in iterations if stem.isdigit()]
    return iterations[str(max(numbers))] if numbers else None
