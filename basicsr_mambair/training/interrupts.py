"""Ctrl-C and SIGTERM in training: finish the iteration, save a checkpoint, and stop."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(Exception):  # noqa: N818  (it is what the user asked for)
    """A signal ended the training after a checkpoint; the message says how to continue."""


class Interrupts:
    """Notices signals while a model trains, and stops after the iteration.

    A second signal stops at once. In distributed training the processes agree after every
    iteration, so that all stop after the same one.

    Attributes:
        sampler: the training sampler, which holds the epoch.
    """

    def __init__(self) -> None:
        self.sampler: Any = None
        self._interrupted = False

    def __enter__(self) -> Interrupts:
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def watch(self, model: Any, *, distributed: bool) -> None:
        """Handles the signals; checks for one after every iteration of a model of BasicSR.

        Args:
            model: its ``optimize_parameters`` is wrapped.
            distributed: True if other processes train the same model.
        """
        optimize = model.optimize_parameters

        def optimize_parameters(current_iter: int) -> None:
            optimize(current_iter)
            if self._someone_interrupted(distributed, model.device):
                model.save(self.sampler.epoch, current_iter)
                raise TrainingInterrupted(
                    f"interrupted; saved iteration {current_iter}. "
                    "Continue with the same command and --auto_resume."
                )

        model.optimize_parameters = optimize_parameters
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def _someone_interrupted(self, distributed: bool, device: Any) -> bool:
        if not distributed:
            return self._interrupted
        import torch

        flag = torch.tensor(int(self._interrupted), device=device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        # Not through sys.stderr's buffer: the signal may have come in the middle of a write to it.
        message = f"\n{name}: saving after this iteration (once more to stop at once)\n"
        os.write(2, message.encode())
