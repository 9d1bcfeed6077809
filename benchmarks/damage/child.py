"""A process beside this one for what may crash or hang: decoders, and stores that are mapped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from benchmarks.damage.outcome import Outcome

Kind = Literal["survived", "named", "failed"]


@dataclass(frozen=True)
class Verdict:
    """What came of a call.

    Attributes:
        kind: ``survived``: it returned; ``named``: an error for the user, of one sentence that
            names the file; ``failed``: anything else.
        said: the error.
    """

    kind: Kind
    said: str = ""

    def __bool__(self) -> bool:
        """Returns whether it is as promised."""
        return self.kind != "failed"


class Child:
    """Runs functions in a process of its own, which is started again when one has killed it.

    Args:
        timeout: seconds after which a call counts as one that hangs.
    """

    def __init__(self, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def run(self, function: Callable[..., Any], *arguments: Any, names: str | Path = "") -> Verdict:
        """Calls a function there.

        Args:
            function: one of a module's own, as pickle wants it.
            arguments: what pickle takes.
            names: what an error must name.
        """
        if self._process is None:
            self._start()
        assert self._pipe is not None
        self._pipe.send((function, arguments, os.fspath(names)))
        try:
            if not self._pipe.poll(self.timeout):
                self.close()
                return Verdict("failed", f"hangs for {self.timeout:.0f} s")
            verdict: Verdict = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code, self._process = self._process.exitcode, None
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            return Verdict("failed", f"the process died: {how}")
        return verdict

    def _start(self) -> None:
        # Not forked: threads of torch and OpenCV do not survive that.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # Not a daemon: those may not start the workers of a loader.
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()
        self._pipe.send((_warm_up, (), ""))
        self._pipe.recv()  # importing takes seconds, which are not the first call's


def count(outcome: Outcome, verdict: Verdict, what: str) -> None:
    """Adds a verdict to the counts; ``what`` tells how to do the same again."""
    if verdict.kind == "survived":
        outcome.survived += 1
    elif verdict.kind == "named":
        outcome.named += 1
    else:
        outcome.unnamed.append(f"{what}: {verdict.said}")


def judge(function: Callable[..., Any], *arguments: Any, names: str | Path = "") -> Verdict:
    """Calls a function in this process, which may return a verdict; see :meth:`Child.run`."""
    from mambair.errors import UserError
    from mambair.imaging.listing import printable

    try:
        result = function(*arguments)
    except UserError as error:
        said = str(error)
        if os.fspath(names) not in said and printable(os.fspath(names)) not in said:
            return Verdict("failed", f"does not name {names}: {said}")
        if any(sign in said for sign in ("Traceback", "Error:", "<class", "frame #")):
            return Verdict("failed", f"is not for a user: {said}")
        return Verdict("named", said)
    except BaseException as error:
        place = "".join(traceback.format_exception(error)[-4:])
        return Verdict("failed", f"{type(error).__name__}: {error}\n{place}")
    return result if isinstance(result, Verdict) else Verdict("survived")


def _serve(pipe: Connection) -> None:
    # Decoders write warnings about every damaged file straight to the terminal.
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    while True:
        try:
            function, arguments, names = pipe.recv()
        except EOFError:
            return
        pipe.send(judge(function, *arguments, names=names))


def _warm_up() -> None:
    import basicsr_mambair  # noqa: F401  isort: skip  (BasicSR is repaired while it is imported)
    import basicsr.data  # noqa: F401

    import mambair.inference.file_to_file  # noqa: F401
