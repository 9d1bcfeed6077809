"""The one place where this project reaches into a pipeline of BasicSR while it runs.

``test_pipeline`` begins with ``parse_options`` and offers no hook. During a run, that name is
replaced in its module, so that it receives finished options.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from basicsr_mambair.training.arguments import RunArguments


@contextmanager
def finished_options(
    pipeline: Any, options: dict[str, Any], arguments: RunArguments
) -> Iterator[None]:
    """Lets ``parse_options`` of a pipeline return what has been loaded already.

    Args:
        pipeline: ``basicsr.test``.
        options: the options of the run.
        arguments: the command line that they came from.
    """

    def parse_options(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], Any]:
        return options, argparse.Namespace(**vars(arguments))

    before = pipeline.parse_options
    pipeline.parse_options = parse_options
    try:
        yield
    finally:
        pipeline.parse_options = before
