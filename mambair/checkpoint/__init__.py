"""The one place where checkpoints are read and written.

:mod:`~.reading` reads files without executing anything in them, :mod:`~.writing` writes them
completely or not at all, and :mod:`~.safetensors_files` knows the form of safetensors. Where files
of other projects hold their weights is in :mod:`~.layouts`; whether weights fit a network, in
:mod:`~.fitting`; and what a checkpoint holds, in :mod:`~.contents`.
"""

from __future__ import annotations

from mambair.checkpoint.contents import SECTION_KEY, State, in_half_precision, non_finite, size_of
from mambair.checkpoint.fitting import check_fits, load_into
from mambair.checkpoint.layouts import load_weights, weights_of, without_prefixes
from mambair.checkpoint.reading import load_checkpoint
from mambair.checkpoint.writing import save_checkpoint, save_safetensors
from mambair.errors import CheckpointError

__all__ = [
    "SECTION_KEY",
    "CheckpointError",
    "State",
    "check_fits",
    "in_half_precision",
    "load_checkpoint",
    "load_into",
    "load_weights",
    "non_finite",
    "save_checkpoint",
    "save_safetensors",
    "size_of",
    "weights_of",
    "without_prefixes",
]
