"""Writes checkpoints in a thread while training goes on, in order, from snapshots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from mambair.checkpoint import (
    SECTION_KEY,
    CheckpointError,
    non_finite,
    save_checkpoint,
    save_safetensors,
)
from mambair.errors import listed


class CheckpointWriter:
    """Files are written one after the other in a thread; training waits only for the last save.

    What fails is raised in the trainer's thread, by the next call of any method; what was handed
    over after it is not written.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._tasks: list[Future[None]] = []

    def write(self, contents: Mapping[str, Any], path: str, checked: tuple[str, ...]) -> None:
        """Takes a snapshot and writes it soon.

        Args:
            contents: the contents of the file; tensors may change after the call.
            path: the file.
            checked: entries that are refused if they are not finite.

        Raises:
            CheckpointError: an earlier file could not be written.
        """
        copied = snapshot(contents)
        self.then(lambda: write_healthy(copied, path, checked))

    def then(self, task: Callable[[], None]) -> None:
        """Does something after everything that has been handed over, unless that fails.

        Raises:
            CheckpointError: an earlier file could not be written.
        """
        self.check()
        before = self._tasks[-1] if self._tasks else None

        def run() -> None:
            if before is not None:
                before.result()
            task()

        self._tasks.append(self._thread.submit(run))

    def check(self) -> None:
        """Raises what has failed so far; does not wait.

        Raises:
            CheckpointError: a file could not be written.
        """
        done = [task for task in self._tasks if task.done()]
        self._tasks = [task for task in self._tasks if not task.done()]
        for task in done:
            task.result()

    def finish(self) -> None:
        """Waits until everything is written.

        Raises:
            CheckpointError: a file could not be written.
        """
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.result()

    def close(self) -> None:
        """Waits until everything that can be written is; raises nothing."""
        self._thread.shutdown()


def write_healthy(contents: Mapping[str, Any], path: str, checked: tuple[str, ...]) -> None:
    """Writes a checkpoint unless entries of it are not finite.

    Args:
        contents: the contents of the file.
        path: the file. A ``.safetensors`` holds the weights of the first checked entry, and the
            section that builds their network.
        checked: entries that are refused if they are not finite.

    Raises:
        CheckpointError: they are not, or the file could not be written; a file of that name is as
            it was.
    """
    wrong = [each for key in checked for each in unhealthy(contents, key)]
    if wrong:
        raise CheckpointError(
            f"{path}: is not written, because these values are not finite (NaN or infinite): "
            f"{listed(wrong)}; the checkpoints before it are as they were. "
            "Continue from the last with --auto_resume and a smaller learning rate, or with "
            "train.grad_clip_norm"
        )
    if path.endswith(".safetensors"):
        about = {SECTION_KEY: contents[SECTION_KEY]} if SECTION_KEY in contents else {}
        save_safetensors(contents[checked[0]], path, about)
    else:
        save_checkpoint(contents, path)


def unhealthy(contents: Mapping[str, Any], key: str) -> list[str]:
    """Names what is not finite in an entry of a checkpoint.

    Arguments of an optimizer, which its state holds too, may be infinite: the ``growth_rate`` of
    Prodigy is, by default.

    Args:
        contents: the contents of a file.
        key: ``optimizers``, or an entry of weights.
    """
    entry = contents[key]
    if key == "optimizers":
        entry = [
            {**each, "param_groups": [_without_infinity(group) for group in each["param_groups"]]}
            for each in entry
        ]
    return non_finite(entry, key)


def _without_infinity(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in arguments.items()
        if not (isinstance(value, float) and math.isinf(value))
    }


def snapshot(value: Any) -> Any:
    """A copy of nested containers whose tensors are copied to the CPU."""
    if torch.is_tensor(value):
        copied = value.detach().to("cpu")
        return copied.clone() if copied.data_ptr() == value.data_ptr() else copied
    if isinstance(value, Mapping):
        return {key: snapshot(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(snapshot, value))
    return list(map(snapshot, value)) if isinstance(value, list) else value
