"""Which picture and which settings the results in a folder come from.

A file name says neither. So every result gets a line in ``.restored.jsonl`` in the folder of the
results. A result is believed only if it is still the file that was written, and replaced only by a
result of the same picture through the same network: anything else under its name is a picture of
somebody's.

Lines are only ever appended, each by a single write, so that several runs can fill one folder.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mambair.imaging.errors import PictureError

RECORD_NAME = ".restored.jsonl"

State = Literal["absent", "current", "outdated", "other network", "other picture", "unknown"]


@dataclass(frozen=True)
class FileState:
    """A file at a point in time.

    Attributes:
        path: absolute.
        size: in bytes.
        time: of its last change, in nanoseconds.
    """

    path: str
    size: int
    time: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Looks at a file.

        Raises:
            OSError: there is none.
        """
        found = path.stat()
        return cls(os.path.realpath(path), found.st_size, found.st_mtime_ns)

    def is_same(self, other: FileState) -> bool:
        """Returns whether the contents are the same, as far as size and time tell."""
        return (self.size, self.time) == (other.size, other.time)


@dataclass(frozen=True)
class Settings:
    """What a result depends on besides its source.

    Attributes:
        network: name of the weights.
        digest: SHA-256 of their file.
        scale: of the network.
        simulated: the source was shrunk first.
        details: tiles and ensemble: another choice gives a variant of the same result.
    """

    network: str
    digest: str
    scale: int
    simulated: bool
    details: str

    def is_same_network(self, other: Settings) -> bool:
        """Returns whether results differ in details only."""
        return replace(self, details="", network="") == replace(other, details="", network="")


@dataclass(frozen=True)
class _Entry:
    source: FileState
    target: FileState  # its path is relative to the folder, which may be moved as a whole
    settings: Settings


class Records:
    """The lines about the results in a folder.

    Args:
        folder: of the results; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, _Entry] = {}
        try:
            lines = (folder / RECORD_NAME).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            lines = []
        for line in lines:
            entry = _parse(line)
            if entry is not None:
                self._entries[entry.target.path] = entry

    def _place(self, target: Path) -> str:
        return os.path.relpath(os.path.realpath(target), os.path.realpath(self._folder))

    def is_result(self, path: Path) -> bool:
        """Returns whether a file is a result in the folder, and was not changed since."""
        entry = self._entries.get(self._place(path))
        try:
            return entry is not None and entry.target.is_same(FileState.of(path))
        except OSError:
            return False

    def state_of(self, target: Path, source: Path, settings: Settings) -> tuple[State, str]:
        """What is in the place of a result.

        Args:
            target: path of the result.
            source: the picture that it would be made of.
            settings: with which it would be made.

        Returns:
            - ``absent``: nothing.
            - ``current``: the result of this picture with these settings.
            - ``outdated``: the result of an earlier state of the picture, or of other details.
            - ``other network``, ``other picture``: such a result; with its name.
            - ``unknown``: a file that was not written here, or was changed since.
        """
        if not os.path.lexists(target):
            return "absent", ""
        entry = self._entries.get(self._place(target))
        try:
            now, before = FileState.of(source), FileState.of(target)
        except OSError:
            return "unknown", ""
        if entry is None or not entry.target.is_same(before):
            return "unknown", ""
        if entry.source.path != now.path and not _was_moved(entry.source, now):
            return "other picture", entry.source.path
        if not entry.settings.is_same_network(settings):
            return "other network", entry.settings.network
        is_current = entry.source.is_same(now) and entry.settings.details == settings.details
        return ("current" if is_current else "outdated"), ""

    def add(self, targets: Iterable[Path], source: FileState, settings: Settings) -> None:
        """Notes results of a picture that were just written.

        Raises:
            PictureError: the lines cannot be written; names the file.
        """
        text = ""
        for target in targets:
            place = self._place(target)
            entry = _Entry(source, replace(FileState.of(target), path=place), settings)
            self._entries[place] = entry
            text += json.dumps(asdict(entry)) + "\n"
        path = self._folder / RECORD_NAME
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)
        except OSError as error:
            raise PictureError(f"{path}: cannot be written: {error.strerror}") from error


def _was_moved(before: FileState, now: FileState) -> bool:
    """Returns whether a picture is one that had another path, as far as can be told.

    Two pictures may have the same size and time (bitmaps from one archive or card), so the one of
    the old path is read if it is still there.
    """
    if not before.is_same(now):
        return False
    try:
        return filecmp.cmp(before.path, now.path, shallow=False)
    except OSError:
        return True


def _parse(line: str) -> _Entry | None:
    """An entry; ``None`` for a line that a killed run left half-written, or of another version."""
    try:
        parts: dict[str, Any] = json.loads(line)
        return _Entry(
            FileState(**parts["source"]),
            FileState(**parts["target"]),
            Settings(**parts["settings"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
