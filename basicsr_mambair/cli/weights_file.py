"""The files of weights that commands write to share a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import Tensor


def check_suffix(output: Path) -> None:
    """Refuses a name that tells neither of the two layouts."""
    if output.suffix not in (".safetensors", ".pth"):
        raise click.BadParameter("must end in .safetensors or .pth", param_hint="--output")


def write_weights(
    weights: Mapping[str, Tensor],
    section: Mapping[str, Any] | None,
    output: Path,
    averaged: bool,
) -> None:
    """Writes weights and the section that builds their network, and says how large the file is.

    Args:
        weights: a state dict.
        section: ``network_g``; ``None``: not known.
        output: ``.safetensors``, or ``.pth`` in BasicSR's layout.
        averaged: whether readers that ask for ``params_ema`` find them under this name too.

    Raises:
        CheckpointError: the file cannot be written.
    """
    from mambair.checkpoint import SECTION_KEY, save_checkpoint, save_safetensors

    about = {} if section is None else {SECTION_KEY: dict(section)}
    if output.suffix == ".pth":
        # torch stores the tensors of both entries once.
        keys = ("params_ema", "params") if averaged else ("params",)
        save_checkpoint({**{key: dict(weights) for key in keys}, **about}, output)
    else:
        save_safetensors(weights, output, about)
    click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
