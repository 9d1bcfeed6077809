"""Validation by several processes: they share the pictures, and the first measures and saves.

The first process runs a model's validation as one process would, picture by picture. Where
another process restores the picture, it receives the result in place of restoring it, so figures,
log and files are those of one process, whatever the metrics and however many pictures there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from basicsr_mambair.training.agreement import cpu_group


def validate_shared(
    model: Any, loader: Any, current_iter: Any, tb_logger: Any, save_img: bool
) -> None:
    """Validates a data set in all processes, which must all call this.

    A model that restores pictures by something other than its ``test`` is run by the first process
    alone, as in BasicSR.

    Args:
        model: an ``SRModel``.
        loader: yields the pictures of the data set one by one.
        current_iter: iteration or, in a measurement, the name of the run.
        tb_logger: TensorBoard's writer, or ``None``.
        save_img: whether pictures are saved.
    """
    rank, processes = model.opt["rank"], model.opt["world_size"]
    shares = processes > 1 and restores_by_test(type(model))
    if not shares and rank > 0:
        return
    with ExitStack() as stack:
        stack.enter_context(_bare_networks(model))
        if shares:
            test = _send_result if rank else _restore_or_receive
            stack.enter_context(_replaced(model, "test", test(model, processes)))
        if rank:
            stack.enter_context(_without_figures(model))
            places = range(rank, len(loader.dataset), processes)
            loader, tb_logger, save_img = _part(loader, places), None, False
        model.nondist_validation(loader, current_iter, tb_logger, save_img)


def restores_by_test(cls: type) -> bool:
    """Returns whether a class of models calls ``test`` once for every picture of a validation.

    Those of BasicSR and of this package do. A class of another package that replaces the loop need
    not (HAT's calls a method of its own); one that calls the loop of its base does what that does.
    """
    from basicsr.models.sr_model import SRModel

    for each in cls.__mro__[: cls.__mro__.index(SRModel)]:
        loop = vars(each).get("nondist_validation")
        if loop is None:
            continue
        calls_super = "__class__" in loop.__code__.co_freevars or "super" in loop.__code__.co_names
        if not calls_super and not each.__module__.startswith(("basicsr.", "basicsr_mambair.")):
            return False
    return True


def _restore_or_receive(model: Any, processes: int) -> Callable[[], None]:
    """``test`` of the first process, which restores every n-th picture itself."""
    own, numbers = model.test, itertools.count()

    def test() -> None:
        owner = next(numbers) % processes
        if owner == 0:
            own()
            return
        received: list[Any] = [None]
        torch.distributed.recv_object_list(received, src=owner, group=cpu_group())
        model.output = received[0]

    return test


def _send_result(model: Any, processes: int) -> Callable[[], None]:
    """``test`` of every other process."""
    own = model.test

    def test() -> None:
        own()
        torch.distributed.send_object_list([model.output.cpu()], dst=0, group=cpu_group())

    return test


def _part(loader: Any, places: range) -> Any:
    """A loader of the pictures at some places of a data set, in order."""
    # Built anew, not filtered: the other pictures are not read.
    return DataLoader(loader.dataset, batch_size=1, sampler=places)


@contextmanager
def _replaced(model: Any, name: str, value: Any) -> Iterator[None]:
    """Gives a model a method of its own for a while."""
    setattr(model, name, value)
    try:
        yield
    finally:
        delattr(model, name)


@contextmanager
def _bare_networks(model: Any) -> Iterator[None]:
    """Runs networks without DDP's wrapper, which waits for others that may have fewer pictures."""
    wrapped = {name: each for name, each in vars(model).items() if name.startswith("net_")}
    vars(model).update({name: model.get_bare_model(each) for name, each in wrapped.items()})
    try:
        yield
    finally:
        vars(model).update(wrapped)


@contextmanager
def _without_figures(model: Any) -> Iterator[None]:
    """Restores only: what is measured, logged and written is the business of the first process."""
    val = model.opt["val"]
    model.opt["val"] = {**val, "metrics": None, "pbar": False, "submission": False}
    try:
        yield
    finally:
        model.opt["val"] = val
