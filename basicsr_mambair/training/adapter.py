"""The one place where this project reaches into BasicSR's pipelines while they run.

``train_pipeline`` and ``test_pipeline`` begin with ``parse_options`` and offer no hook. During a
run, names that a pipeline looks up in its own module are replaced: it receives finished options,
and the code that acts between two iterations gets hold of the model and the sampler.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.interrupts import Interrupts


@contextmanager
def finished_options(
    pipeline: ModuleType, options: dict[str, Any], arguments: RunArguments
) -> Iterator[None]:
    """Lets ``parse_options`` of a pipeline return what has been loaded already.

    Args:
        pipeline: ``basicsr.train`` or ``basicsr.test``.
        options: the options of the run.
        arguments: the command line that they came from.
    """

    def parse_options(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], Any]:
        return options, argparse.Namespace(**vars(arguments))

    with _replaced(pipeline, parse_options=parse_options):
        yield


@contextmanager
def stoppable(pipeline: ModuleType) -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM wait for the end of an iteration and save a checkpoint first.

    Args:
        pipeline: ``basicsr.train``.
    """
    interrupts = Interrupts()
    create_loaders, build_model = pipeline.create_train_val_dataloader, pipeline.build_model

    def create_train_val_dataloader(opt: dict[str, Any], logger: Any) -> Any:
        loaders = create_loaders(opt, logger)
        interrupts.sampler = loaders[1]
        return loaders

    def build_watched_model(opt: dict[str, Any]) -> Any:
        model = build_model(opt)
        interrupts.watch(model, distributed=opt["dist"])
        return model

    with (
        interrupts,
        _replaced(
            pipeline,
            create_train_val_dataloader=create_train_val_dataloader,
            build_model=build_watched_model,
        ),
    ):
        yield


@contextmanager
def _replaced(module: ModuleType, **names: Any) -> Iterator[None]:
    before = {name: getattr(module, name) for name in names}
    for name, value in names.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
