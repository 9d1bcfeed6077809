"""LMDBs that are damaged: they are mapped into memory, so reading one may kill the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from mambair.errors import listed
from mambair.imaging.errors import PictureError
from mambair.imaging.pairs import keys_of_lmdb
from mambair.imaging.reading import open_file

_PATIENCE = 300  # seconds; a tree of keys that has become a circle would be followed for ever
_SAMPLE = 64  # entries whose contents are read; each may be a picture of megabytes
_META = "meta_info.txt"


def check_lmdb(folder: str) -> None:
    """Looks for damage to an LMDB; to be called before it is opened in this process.

    A process of its own reads all keys, the content that lies last in the file, and those of a
    sample. Where the file is cut off, or its pages are not those that were written, that process
    is killed, instead of a training hours later.

    Args:
        folder: the folder that holds ``data.mdb``.

    Raises:
        PictureError: it is damaged, or lacks entries that ``meta_info.txt`` lists, if there is one.
    """
    path = os.path.join(folder, "data.mdb")
    with open_file(path):
        pass
    if os.path.exists(os.path.join(folder, _META)):
        keys_of_lmdb(folder)  # damage to the list itself
    command = [sys.executable, "-m", __name__, folder]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise PictureError(f"{path}: its keys could not be read in {_PATIENCE} s") from error
    if done.returncode < 0:
        how = signal.Signals(-done.returncode).name
        raise PictureError(f"{path}: is damaged or cut off: reading it kills a process ({how})")
    if done.returncode > 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["is damaged"]
        raise PictureError(f"{path}: {said[-1]}")


def _look_at(folder: str) -> str | None:
    """Returns what is wrong with an LMDB, if this process survives it."""
    import lmdb
    import numpy as np

    keys: set[bytes] = set()
    last: tuple[int, bytes] = (0, b"")
    try:
        with lmdb.open(folder, readonly=True, lock=False, readahead=False) as database:
            entries = int(database.stat()["entries"])
            every = max(1, entries // _SAMPLE)
            with database.begin(buffers=True) as transaction:
                for number, (key, content) in enumerate(transaction.cursor()):
                    if number >= entries:
                        return f"is damaged: it has more keys than the {entries} of its header"
                    keys.add(bytes(key))
                    if len(content):
                        begin = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
                        last = max(last, (begin + len(content), bytes(key)))
                    if number % every == 0:
                        bytes(content)
                bytes(transaction.get(last[1], b""))
    except lmdb.Error as error:
        return f"is damaged: {error}"
    if not os.path.exists(os.path.join(folder, _META)):
        return None  # data sets that need it say so
    missing = [each for each in keys_of_lmdb(folder) if each.encode() not in keys]
    if missing:
        return f"lacks entries that {_META} lists: {listed(map(repr, missing))}"
    return None


if __name__ == "__main__":
    sys.exit(_look_at(sys.argv[1]))
