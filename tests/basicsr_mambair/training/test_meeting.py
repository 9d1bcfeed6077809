"""The processes of a run meet, whoever else connects with the first of them."""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basicsr_mambair.training import meeting
from basicsr_mambair.training.meeting import PeerError, introduce, meet
from basicsr_mambair.training.words import receive, send
from tests.basicsr_mambair.processes import Job, run
from tests.basicsr_mambair.training.runs import contents
from tests.basicsr_mambair.training.test_processes import prepare

KEY = "0123456789abcdef"
WORDS = {
    "garbage": secrets.token_bytes(500),
    "zeros": bytes(100),
    "a request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "without end": b"x" * 100_000,
    "not ASCII": "schlüssel 1 2 3\0".encode(),
    "another key": b"0123456789abcdee 1 100 host\0",
    "too few words": KEY.encode() + b" 1\0",
    "not a number": KEY.encode() + b" one 100 host\0",
    "not a rank": KEY.encode() + b" 7 100 host\0",
    "nothing": b"",
}


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def call(server: socket.socket, said: bytes) -> socket.socket:
    connection = socket.create_connection(server.getsockname())
    connection.sendall(said)
    return connection


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS.keys())
@pytest.mark.parametrize("leaves", [False, True])
def test_strangers_are_ignored_and_named(word: bytes, leaves: bool, server: socket.socket) -> None:
    port, notes = server.getsockname()[1], []
    stranger = call(server, word)
    if leaves:
        stranger.close()
    own = introduce("127.0.0.1", port, KEY, rank=1)
    with stranger, own:
        met = meet(server, KEY, range(1, 2), notes.append, patience=20)
        assert list(met) == [1]
        assert met[1].description.startswith("process ")
        with met[1].connection as connection:
            send(own, "bye")
            assert receive(connection) == "bye"
    assert notes == ["ignored connections from 127.0.0.1 by others than processes of this run: 1"]


def test_words_may_come_in_parts(server: socket.socket) -> None:
    notes: list[str] = []
    with call(server, KEY[:5].encode()) as connection:
        rest = f"{KEY[5:]} 1 100 host\0".encode()
        threading.Timer(0.2, connection.sendall, [rest]).start()
        met = meet(server, KEY, range(1, 2), notes.append, patience=20)
        met[1].connection.close()
    assert met[1].description == "process 100 on host"
    assert notes == []


def test_a_crowd_does_not_use_up_the_files(server: socket.socket) -> None:
    notes: list[str] = []
    crowd = [call(server, b"") for _ in range(2 * meeting._STRANGERS - 1)]
    own = introduce("127.0.0.1", server.getsockname()[1], KEY, rank=1)
    meet(server, KEY, range(1, 2), notes.append, patience=20)[1].connection.close()
    for each in (own, *crowd):
        each.close()
    assert notes[0].endswith(f": {len(crowd)}")


def test_a_process_that_does_not_come_is_named(server: socket.socket) -> None:
    own = introduce("127.0.0.1", server.getsockname()[1], KEY, rank=2)
    with own, pytest.raises(PeerError, match="rank 1, 3: not connected .* after 0.3 seconds"):
        meet(server, KEY, range(1, 4), print, patience=0.3)


def test_a_way_that_is_closed_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(PeerError, match=rf"rank 1: .* 127\.0\.0\.1, port {port} \(.*refused"):
        introduce("127.0.0.1", port, KEY, rank=1)


STRANGERS = """
import os
import socket

create, callers = socket.create_server, []


def create_server(address, **arguments):
    server = create(address, **arguments)
    for word in (bytes(range(256)), b"GET / HTTP/1.1", b""):
        callers.append(socket.create_connection(("127.0.0.1", server.getsockname()[1])))
        callers[-1].sendall(word)
    return server


if os.environ.get("RANK") == "0":
    socket.create_server = create_server
"""


def test_a_training_meets_strangers(pairs: Path) -> None:
    """The strangers are at the door before the second process."""
    options: dict[str, Any] = contents(total=2, imports=["strangers"])
    job: Job = prepare(pairs, "run", 2, options)
    Path(job.folder, "strangers.py").write_text(STRANGERS)
    run(job)
    log = next(Path(job.folder, "experiments", "run").glob("*.log")).read_text()
    assert re.search(r"WARNING: ignored connections from \S+ by others .* of this run: 3\n", log)
    assert "End of training" in log
