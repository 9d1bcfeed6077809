"""Processes that train together: when one ends, the others end too, and one sentence says why.

PyTorch leaves the others waiting (NCCL), or each with a page about a closed connection that does
not say to which process (gloo). Here every process holds a connection to the first one, which the
system closes when a process ends, however it ends. What is said is said by the first process, or,
where that has died, by the second.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

from basicsr_mambair.training.interrupts import TrainingInterrupted
from basicsr_mambair.training.meeting import PeerError, introduce, meet
from basicsr_mambair.training.words import receive, send
from mambair.errors import UserError

_GRACE = 5.0  # seconds in which a process may end by itself: it may be writing a checkpoint
_PATIENCE = 3.0  # seconds between an error of communication and the news of its cause
_BYE, _STOP = "bye", "stop"  # words; everything else says why a process has failed
_TRANSPORTS = ("gloo", "nccl", "connection", "peer", "broken pipe", "store", "socket")


class Peers:
    """The processes of a run, which end together.

    All processes enter and leave the context. If one fails in it or dies, the others end with
    status 1: by themselves if they can within seconds, otherwise at once.

    Args:
        rank: number of this process.
        processes: how many there are. One process has no peers, and nothing is done.
        advice: how to go on.
        say: where the first process says what has happened, if not on the screen.

    Attributes:
        notes: what is to be said as soon as there is a log, if there will be one.
    """

    def __init__(
        self,
        rank: int,
        processes: int,
        advice: str = "--auto_resume continues from the last checkpoint",
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.rank, self.processes, self.advice = rank, processes, advice
        self._log = say if rank == 0 else None  # only the first process has a log
        self.notes: list[str] = []
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[int, socket.socket] = {}
        self._names = {rank: f"rank {rank} of {processes}" for rank in range(processes)}

    @property
    def end(self) -> bool:
        """Whether a process has failed, so that this one ends."""
        return self._ends.is_set()

    def __enter__(self) -> Peers:
        if self.processes > 1:
            self._connect()
            self._listener = threading.Thread(target=self._listen, name="peers", daemon=True)
            self._listener.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        if self.processes == 1:
            return False
        if error is None or isinstance(error, TrainingInterrupted):
            self._tell(_BYE)
            if error is not None and self.rank > 0:
                # The first process still writes, and says what it wrote. torchrun ends all as soon
                # as one has ended, so this one is not it.
                self._listener.join()
                receive(self._connections[0])
                _leave(130)
            return False
        if _is_of_communication(error):
            self._ends.wait(_PATIENCE)
        if not self._is_first():
            _leave()
        reason = _reason(error)
        if self.rank > 0:
            self._tell(reason)
            if isinstance(error, UserError):
                _leave()
            return False  # its traceback is wanted
        self._tell(_STOP)
        if isinstance(error, UserError):
            raise PeerError(f"{self._names[0]}: {reason}") from error
        self._say(f"{self._names[0]}: {reason}")
        return False

    def _connect(self) -> None:
        """Connects every process with the first."""
        import torch

        server = socket.create_server(("", 0)) if self.rank == 0 else None
        shared: list[Any] = [server and (server.getsockname()[1], secrets.token_hex(16))]
        torch.distributed.broadcast_object_list(shared)
        port, key = shared[0]
        if server is None:
            self._connections[0] = introduce(os.environ["MASTER_ADDR"], port, key, self.rank)
            return
        for rank, (connection, description) in meet(
            server, key, range(1, self.processes), self._note
        ).items():
            self._connections[rank] = connection
            self._names[rank] += f" ({description})"

    def _listen(self) -> None:
        """Reads what the other ends of the connections say until they are closed."""
        with selectors.DefaultSelector() as selector:
            for rank, connection in self._connections.items():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                selector.register(connection, selectors.EVENT_READ, rank)
            while selector.get_map():
                for ready, _ in selector.select():
                    selector.unregister(ready.fileobj)
                    word = receive(self._connections[ready.data])
                    if word != _BYE:
                        self._lose(ready.data, word)

    def _lose(self, rank: int, word: str) -> None:
        """Another process has failed: this one ends soon."""
        if not self._is_first():
            return
        if self.rank == 0 or (self.rank == 1 and word != _STOP):
            self._say(f"{self._names[rank]}: {word or 'has died (killed, or out of memory)'}")
        self._tell(_STOP)
        ending = threading.Timer(_GRACE, _leave)
        ending.daemon = True
        ending.start()

    def _is_first(self) -> bool:
        """Notes that this process ends; returns whether that had not been noted before."""
        with self._lock:
            first = not self._ends.is_set()
            self._ends.set()
        return first

    def _say(self, text: str) -> None:
        text = f"{text}\nThe processes stop; {self.advice}."
        if self._log is not None:
            self._log(text)
        else:
            os.write(2, f"Error: {text}\n".encode("utf-8", "backslashreplace"))

    def _note(self, text: str) -> None:
        if self._log is not None:
            self.notes.append(text)
        else:
            os.write(2, f"Warning: {text}\n".encode())

    def _tell(self, word: str) -> None:
        for connection in self._connections.values():
            send(connection, word)


def _reason(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _is_of_communication(error: BaseException) -> bool:
    """Returns whether an error may be the consequence of another process's end."""
    text = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(each in text for each in _TRANSPORTS)


def _leave(status: int = 1) -> None:
    """Ends this process without waiting for others, as PyTorch's own ending might."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
