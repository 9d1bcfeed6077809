"""The files of weights that commands write to share a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mambair.errors import file_size

if TYPE_CHECKING:
    from torch import Tensor


def _with_a_layout(ctx: click.Context, param: click.Parameter, output: Path) -> Path:
    if output.suffix not in (".safetensors", ".pth"):
        raise click.BadParameter("must end in .safetensors or .pth", ctx=ctx, param=param)
    return output


output_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_with_a_layout,
    help="The file to write: NAME.safetensors, or NAME.pth in BasicSR's layout.",
)
"""The file to write; its suffix tells the layout."""


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
    click.echo(f"{output}: {file_size(output.stat().st_size)}")
