"""The option ``--launcher`` of commands whose pictures several processes share."""

from __future__ import annotations

import click

launcher_option = click.option(
    "--launcher",
    type=click.Choice(["none", "pytorch"]),
    default="none",
    show_default=True,
    help="pytorch: torchrun has started several processes, which share the pictures.",
)
"""What :func:`basicsr_mambair.training.share.shared` takes."""
