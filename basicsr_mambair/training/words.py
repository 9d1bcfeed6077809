"""Words that processes say to each other over a connection."""

from __future__ import annotations

import socket
from contextlib import suppress

END = b"\0"  # of a word, which may have several lines


def send(connection: socket.socket, word: str) -> None:
    """Sends a word, unless the other process has ended: others find that out by themselves."""
    with suppress(OSError):
        connection.sendall(word.encode("utf-8", "backslashreplace") + END)


def receive(connection: socket.socket) -> str:
    """One word, for which this waits; empty if the connection has been closed."""
    received = bytearray()
    try:
        while not received.endswith(END) and (more := connection.recv(1)):
            received += more
    except OSError:
        return ""
    return received.removesuffix(END).decode("utf-8", "replace")
