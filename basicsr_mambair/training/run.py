"""Training and measuring, from arguments to the end of BasicSR's pipeline."""

from __future__ import annotations

import os

from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.requirements import require_basicsr


def train(arguments: RunArguments) -> None:
    """Trains the network of an option file; writes under the current directory.

    Raises:
        BasicSRMissingError: BasicSR is not installed.
        OptionError: something in the file is wrong; nothing has been written.
        TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint has been saved.
    """
    require_basicsr()
    from basicsr_mambair.training.pipeline import run_training
    from basicsr_mambair.training.preparation import prepare_run

    root = os.getcwd()
    run_training(prepare_run(arguments, root, is_train=True), arguments.opt, root)


def test(arguments: RunArguments) -> None:
    """Measures a network on the data sets of an option file; writes under the current directory.

    Raises:
        BasicSRMissingError: BasicSR is not installed.
        OptionError: something in the file is wrong; nothing has been written.
    """
    require_basicsr()
    import basicsr.test

    from basicsr_mambair.training.adapter import finished_options
    from basicsr_mambair.training.peers import Peers
    from basicsr_mambair.training.preparation import prepare_run

    root = os.getcwd()
    options = prepare_run(arguments, root, is_train=False)
    peers = Peers(options["rank"], options["world_size"])
    with peers, finished_options(basicsr.test, options, arguments):
        basicsr.test.test_pipeline(root)
