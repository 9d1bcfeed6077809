"""The form of safetensors files: weights, and metadata as JSON with a digest of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mambair.checkpoint.contents import SECTION_KEY
from mambair.errors import CheckpointError

_DIGEST_KEY = "sha256"  # in the metadata
_SECTION_KEYS = (SECTION_KEY, "network_g")  # the second: files of version 0.1.0


def encode(weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The content of a file.

    Args:
        weights: a state dict.
        about: metadata, every value as JSON.
    """
    from safetensors.torch import save

    tensors = {name: value.contiguous() for name, value in weights.items()}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    metadata[_DIGEST_KEY] = _digest(tensors, metadata)
    content: bytes = save(tensors, metadata)
    return content


def read(path: Path) -> dict[str, Any]:
    """Reads a file in BasicSR's layout: ``params`` and, if there is one, the section ``network``.

    Raises:
        CheckpointError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is damaged: {error}") from error
    if metadata.pop(_DIGEST_KEY, None) not in (None, _digest(weights, metadata)):
        raise CheckpointError(f"{path}: is damaged: its contents are not those that were written")
    contents: dict[str, Any] = {"params": weights}
    for key in _SECTION_KEYS:
        if key in metadata:
            try:
                contents[SECTION_KEY] = json.loads(metadata[key])
            except ValueError as error:
                raise CheckpointError(f"{path}: its metadata are damaged: {key}") from error
            break
    return contents


def _digest(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of weights and metadata."""
    digest = hashlib.sha256(json.dumps(dict(sorted(metadata.items()))).encode())
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
