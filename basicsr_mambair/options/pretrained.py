"""Weights that an option file names, found where ``restore`` finds them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def find_pretrained(options: dict[str, Any]) -> None:
    """Replaces weights under ``path`` that are not there by the known model of their name.

    ``experiments/pretrained_models/tiny_x2.safetensors``, or ``tiny_x2``, is a file of a clone of
    this project; elsewhere the weights that the installed package brings along are meant. Says
    which file is taken.

    Args:
        options: the options of a run; unknown names are left for the checks to refuse.
    """
    from mambair.checkpoint import CheckpointError
    from mambair.inference.weights import find_weights

    section = options.get("path")
    if not isinstance(section, dict):
        return
    for key, value in section.items():
        is_name = str(key).startswith("pretrain_network") and isinstance(value, str) and value
        if not is_name:
            continue
        try:
            if Path(value).expanduser().is_file():
                continue
            found = find_weights(value)
        except (CheckpointError, OSError, RuntimeError, ValueError):  # the checks will name it
            continue
        warnings.warn(f"path.{key}: {value} does not exist; using {found}", stacklevel=2)
        section[key] = str(found)
