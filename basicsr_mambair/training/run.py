"""Training and measuring, from arguments to the end of BasicSR's pipeline."""

from __future__ import annotations

import os
import time
from typing import Any

from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.requirements import require_basicsr
from mambair.errors import UserError

_PATIENCE = 8  # seconds; a process takes some to end


def train(arguments: RunArguments) -> None:
    """Trains the network of an option file; writes under the current directory.

    Raises:
        BasicSRMissingError: BasicSR is not installed.
        OptionError: something in the file is wrong; nothing has been written.
        TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint has been saved.
    """
    require_basicsr()
    from basicsr_mambair.training.pipeline import run_training

    root = os.getcwd()
    run_training(_prepare(arguments, root, is_train=True), arguments.opt, root)


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

    root = os.getcwd()
    options = _prepare(arguments, root, is_train=False)
    peers = Peers(options["rank"], options["world_size"], "what is measured is measured again")
    with peers, finished_options(basicsr.test, options, arguments):
        basicsr.test.test_pipeline(root)


def _prepare(arguments: RunArguments, root: str, is_train: bool) -> dict[str, Any]:
    """Loads the options; an error that all processes of a machine have is told by one of them."""
    from basicsr_mambair.training.preparation import prepare_run

    try:
        return prepare_run(arguments, root, is_train)
    except UserError:
        if os.environ.get("LOCAL_RANK", "0") != "0" and arguments.launcher == "pytorch":
            time.sleep(_PATIENCE)  # torchrun ends this process, if the first one has failed too
        raise
