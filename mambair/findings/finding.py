"""The common face of all findings: a sentence with a figure, a table, and a drawing."""

from __future__ import annotations

import csv
import io
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from mambair.errors import UserError
from mambair.imaging.writing import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Line: TypeAlias = "dict[str, str | int | float]"

_DPI = 90  # of a PNG; drawings are about ten inches wide


class FindingError(UserError, ValueError):
    """A picture, pixel or size does not suit a finding; says which and why."""


class NotApplicableError(FindingError):
    """A network does not have what a finding is about; says what is missing."""


class Finding(ABC):
    """A measured finding.

    Attributes:
        name: name of the finding, as in file names.
    """

    name: ClassVar[str]

    @abstractmethod
    def summary(self) -> str:
        """Returns one sentence with the figure that the finding comes down to."""

    @abstractmethod
    def table(self) -> list[Line]:
        """Returns all figures, one line for each block or curve point."""

    @abstractmethod
    def draw(self) -> Figure:
        """Returns the drawing."""

    def save(self, folder: str | os.PathLike[str], prefix: str = "") -> list[Path]:
        """Writes ``PREFIX NAME.png`` and ``.csv``; each file is either its old self or complete.

        Args:
            folder: folder of the files; it is created.
            prefix: beginning of their names.

        Returns:
            The two files.

        Raises:
            PictureError: a file cannot be written; names it.
        """
        stem = Path(folder, f"{prefix}{self.name}")
        drawing = io.BytesIO()
        self.draw().savefig(drawing, format="png", dpi=_DPI, metadata={"Software": None})
        lines = self.table()
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in line.items()} for line in lines)
        contents = {".png": drawing.getvalue(), ".csv": text.getvalue().encode()}
        written = []
        for suffix, content in contents.items():
            path = stem.with_name(stem.name + suffix)
            write_bytes(content, path)
            written.append(path)
        return written


def _rounded(value: str | int | float) -> str | int:
    """Six digits of a float: enough to compare, few enough to read."""
    return f"{value:.6g}" if isinstance(value, float) else value
