"""The problems of an option file, each with its place, and the error that reports them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mambair.errors import UserError

Path = tuple[str, ...]  # of keys: ("train", "optim_g", "lr")


def dotted(path: Path) -> str:
    """A path of keys as messages and ``${…}`` write it: ``train.optim_g.lr``."""
    return ".".join(path)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: the keys that lead to it; empty for the file as a whole.
        text: the fault, and a correct alternative.
        source: origin of the value: ``FILE:LINE``, or the entry on the command line.
    """

    path: Path
    text: str
    source: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, dotted(self.path), self.text) if part)


class OptionError(UserError, ValueError):
    """Something in an option file is wrong; the message names file, line and key of each thing.

    Attributes:
        problems: everything that was found, in the order of the file's sections.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class Problems:
    """Collects problems while a file is checked."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, path: Path | str, text: str) -> None:
        """Notes a problem; a text is the name of a key at the top."""
        problem = Problem((path,) if isinstance(path, str) else path, text)
        if problem not in self._found:
            self._found.append(problem)

    def under(self, path: Path) -> bool:
        """Returns whether there is a problem at or below a path."""
        return any(problem.path[: len(path)] == path for problem in self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)
