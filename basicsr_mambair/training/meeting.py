"""How the first of several processes meets the others: by connections that know a key.

The port is open to the network until all have come, so anybody may call: a port scanner, a health
check, a program that connects and waits. Whoever does not say the key is left aside, and keeps
nobody waiting.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from basicsr_mambair.training.words import END, send
from mambair.errors import UserError, listed

PATIENCE = 60.0  # seconds in which all processes must have come
_LONGEST = 1024  # bytes of the word that a process introduces itself with
_STRANGERS = 64  # connections that may be silent at the same time; more would use up the files


class PeerError(UserError):
    """One of several processes has failed; the message names its rank."""


class Met(NamedTuple):
    """A process that has come.

    Attributes:
        connection: blocks, as sockets do.
        description: its number and its machine.
    """

    connection: socket.socket
    description: str


def introduce(address: str, port: int, key: str, rank: int) -> socket.socket:
    """Connects this process with the first.

    Args:
        address: machine of the first process.
        port: where it listens.
        key: what the processes of this run alone know.
        rank: number of this process.

    Raises:
        PeerError: there is no way to it.
    """
    try:
        connection = socket.create_connection((address, port), timeout=PATIENCE)
    except OSError as error:
        raise PeerError(
            f"rank {rank}: cannot connect with the first process at {address}, port {port} "
            f"({error.strerror or error}); the machines of a run must let each other in at any port"
        ) from error
    connection.settimeout(None)
    send(connection, f"{key} {rank} {os.getpid()} {socket.gethostname()}")
    return connection


def meet(
    server: socket.socket,
    key: str,
    ranks: Collection[int],
    note: Callable[[str], None],
    patience: float = PATIENCE,
) -> dict[int, Met]:
    """Waits in the first process for the others; strangers are left aside.

    Args:
        server: listens; is closed.
        key: what the processes of this run alone know.
        ranks: numbers of the processes that must come.
        note: is told about strangers.
        patience: seconds in which all must have come.

    Returns:
        The processes by their numbers.

    Raises:
        PeerError: some have not come; names them.
    """
    with server, selectors.DefaultSelector() as selector:
        door = _Door(server, selector, key, ranks)
        door.wait(time.monotonic() + patience)
    for host, number in door.strangers.items():
        note(f"ignored connections from {host} by others than processes of this run: {number}")
    missing = sorted(set(ranks) - door.met.keys())
    if missing:
        raise PeerError(
            f"rank {listed(missing)}: not connected with the first process after "
            f"{patience:g} seconds"
        )
    return door.met


class _Door:
    """Who has connected: processes of the run, strangers, and those who have not said it yet.

    Args:
        server: listens.
        selector: waits for what happens.
        key: what the processes of this run alone know.
        ranks: numbers of the processes that must come.
    """

    def __init__(
        self,
        server: socket.socket,
        selector: selectors.BaseSelector,
        key: str,
        ranks: Collection[int],
    ) -> None:
        self.server, self.selector, self.key, self.ranks = server, selector, key, ranks
        self.met: dict[int, Met] = {}
        self.strangers: Counter[str] = Counter()
        self._hosts: dict[Any, str] = {}  # of those who have not said who they are
        self._said: dict[Any, bytes] = {}
        server.setblocking(False)
        selector.register(server, selectors.EVENT_READ)

    def wait(self, limit: float) -> None:
        """Lets in who comes, until all have come or the time is over."""
        while len(self.met) < len(self.ranks) and (left := limit - time.monotonic()) > 0:
            for ready, _ in self.selector.select(left):
                if ready.fileobj is self.server:
                    self._accept()
                elif ready.fileobj in self._hosts:  # not left aside a moment ago
                    self._hear(ready.fileobj)
        for connection in list(self._hosts):
            self._leave_aside(connection)

    def _accept(self) -> None:
        try:
            connection, address = self.server.accept()
        except OSError:  # it has gone away again
            return
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ)
        self._hosts[connection], self._said[connection] = str(address[0]), b""
        if len(self._hosts) > _STRANGERS:
            self._leave_aside(next(iter(self._hosts)))

    def _hear(self, connection: Any) -> None:
        try:
            more = connection.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        self._said[connection] += more
        word = self._said[connection]
        if more and END not in word and len(word) < _LONGEST:
            return  # there is more to come
        rank, description = _introduced(word, self.key)
        if rank not in self.ranks or rank in self.met:
            self._leave_aside(connection)
            return
        self._forget(connection)
        connection.setblocking(True)
        self.met[rank] = Met(connection, description)

    def _leave_aside(self, connection: Any) -> None:
        self.strangers[self._forget(connection)] += 1
        connection.close()

    def _forget(self, connection: Any) -> str:
        self.selector.unregister(connection)
        del self._said[connection]
        return self._hosts.pop(connection)


def _introduced(word: bytes, key: str) -> tuple[int, str]:
    """The rank of who says this, and a description; -1: it does not know the key."""
    given, *rest = word.removesuffix(END).split(b" ")
    if not secrets.compare_digest(given, key.encode()) or len(rest) != 3 or not rest[0].isdigit():
        return -1, ""
    rank, process, host = (each.decode("utf-8", "replace") for each in rest)
    return int(rank), f"process {process} on {host}"
