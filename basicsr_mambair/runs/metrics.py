"""``metrics.jsonl``: the figures of a run, one line for each report and each validation.

    {"iter": 100, "epoch": 2, "lr": [0.001], "train": {"l_pix": 0.02}, "speed": {"seconds": 0.1, …}}
    {"iter": 200, "val": "Set5", "metrics": {"psnr": 31.2}}

Everything but ``speed`` is the same, bit for bit, whether a run was stopped and resumed or not.
A number that is not finite is ``null``, because JSON has no other name for it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mambair.atomic import write_atomically
from mambair.errors import UserError

FILE = "metrics.jsonl"

Record = dict[str, Any]


class MetricsError(UserError):
    """The figures of a run cannot be read or written; the message names the file."""


class MetricsFile:
    """The file of a run that is being trained.

    A line is appended and handed to the system at once, so that a process that is killed has lost
    at most part of its last line.

    Args:
        folder: the folder of the run.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / FILE

    def add(self, record: Mapping[str, Any]) -> None:
        """Appends a line.

        Raises:
            MetricsError: it could not be written.
        """
        line = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise self._not_written(error) from error

    def flush(self) -> None:
        """Makes the lines so far survive a loss of power, as the checkpoint that follows does.

        Raises:
            MetricsError: they could not be written.
        """
        try:
            with self.path.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise self._not_written(error) from error

    def keep_until(self, iteration: int, validates_again: bool) -> tuple[list[Record], list[str]]:
        """Removes the lines that a run that continues will write again.

        Args:
            iteration: where it continues; lines of later iterations go.
            validates_again: whether it begins with the validation of that iteration; the lines of
                that validation then go, too.

        Returns:
            The lines of that validation, and what the log should say about lines that could not be
            read.

        Raises:
            MetricsError: the file could not be read or written.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise MetricsError(f"{self.path}: cannot be read ({error.strerror})") from error
        kept, again, unread = [], [], []
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            record = _parsed(line)
            if record is None:
                unread.append(number)
            elif validates_again and record["iter"] == iteration and "val" in record:
                again.append(record)
            elif record["iter"] <= iteration:
                kept.append(line)
        remaining = b"".join(kept)
        if remaining != content:
            try:
                write_atomically(self.path, lambda file: file.write(remaining))
            except OSError as error:
                raise self._not_written(error) from error
        lines = ", ".join(map(str, unread))
        notes = [f"{self.path}: removed incomplete lines: {lines}"] if unread else []
        return again, notes

    def _not_written(self, error: OSError) -> MetricsError:
        return MetricsError(f"{self.path}: could not be written ({error.strerror})")


def read_metrics(folder: str | os.PathLike[str]) -> list[Record]:
    """Reads the figures of a run, which may be going on: an incomplete last line is left out.

    Returns:
        The lines in their order; an empty list if the run has not written any.

    Raises:
        MetricsError: the file cannot be read, or is not what a run has written.
    """
    path = Path(folder) / FILE
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MetricsError(f"{path}: cannot be read ({error.strerror})") from error
    records = []
    for number, line in enumerate(lines, 1):
        record = _parsed(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise MetricsError(f"{path}: line {number} is not a line of a run: {line[:60]!r}")
    return records


def _parsed(line: bytes) -> Record | None:
    """The record in a line; ``None`` if the line is incomplete or something else."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    known = isinstance(record, dict) and isinstance(record.get("iter"), int)
    return record if known else None


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_finite, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value
