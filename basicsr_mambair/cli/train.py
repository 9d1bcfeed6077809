"""``basicsr train``."""

from __future__ import annotations

from typing import Any

import click

from basicsr_mambair.cli.interrupted import Interrupted
from basicsr_mambair.training.arguments import as_run_arguments, run_arguments


@click.command()
@run_arguments
def train(**arguments: Any) -> None:
    """Train the network of an option file.

    Writes to experiments/NAME/ under the current directory, or under path.experiments_root of the
    option file. Ctrl-C finishes the iteration, saves a checkpoint and stops; --auto_resume
    continues from there.

    \b
    basicsr train -opt options/train/quickstart.yml
    basicsr train -opt FILE --force_yml train:total_iter=1000 datasets:train:batch_size_per_gpu=4
    torchrun --nproc_per_node=2 -m basicsr_mambair train -opt FILE --launcher pytorch
    """
    given = as_run_arguments(**arguments)
    from basicsr_mambair.training.interrupts import TrainingInterrupted
    from basicsr_mambair.training.run import train as run

    try:
        run(given)
    except TrainingInterrupted as interrupted:
        raise Interrupted(str(interrupted)) from None
