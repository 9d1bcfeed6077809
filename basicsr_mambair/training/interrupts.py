"""Ctrl-C, SIGTERM and SIGHUP in training: finish the iteration, save a checkpoint, and stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from basicsr_mambair.training.agreement import any_process

# SIGHUP: the terminal or the connection was closed; Windows has no such signal.
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def leave_signals_to_the_trainer() -> None:
    """In a process that the trainer started: a signal to the whole group stops the trainer alone.

    The trainer ends its processes itself. SIGTERM is also its last means against one that hangs,
    and so is heeded the second time.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))


class TrainingInterrupted(Exception):  # noqa: N818  (it is what the user asked for)
    """A signal ended the training after a checkpoint; the message says how to continue."""


class Interrupts:
    """Notices signals while a model trains; the loop asks after every iteration.

    A second signal stops at once. In distributed training the processes agree after every
    iteration, so that all stop after the same one. Leaving the context restores the handlers.

    Args:
        ignored: whether signals mean nothing any more, because this process ends anyway.
    """

    def __init__(self, ignored: Callable[[], bool] = lambda: False) -> None:
        self._interrupted, self._ignored = False, ignored

    def __enter__(self) -> Interrupts:
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Handles the signals from here on, unless the process ignores them (``nohup``)."""
        for number, handler in self._handlers.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def someone_was_interrupted(self, distributed: bool, device: Any) -> bool:
        """Returns whether a signal came, to any of the processes if there are several.

        Args:
            distributed: whether other processes train the same model, and ask too.
            device: device of the model.
        """
        return any_process(self._interrupted, distributed, device)

    def stop(self, iteration: int, saved: bool) -> NoReturn:
        """Ends a training.

        Args:
            iteration: the last iteration.
            saved: whether it was saved.

        Raises:
            TrainingInterrupted: always.
        """
        what = f"saved iteration {iteration}" if saved else f"iteration {iteration} was not saved"
        raise TrainingInterrupted(
            f"interrupted; {what}. Continue with the same command and --auto_resume."
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._ignored():
            return
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        # Not through sys.stderr's buffer: the signal may have come in the middle of a write to it.
        message = f"\n{name}: saving after this iteration (once more to stop at once)\n"
        os.write(2, message.encode())
