"""The files that results are written to: their names, and what must not be overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mambair.imaging.errors import PictureError


class TargetError(PictureError):
    """A result would replace a picture that is read, or another result; names both."""


def target_of(
    source: Path, folder: str | os.PathLike[str], suffix: str = "", extension: str | None = None
) -> Path:
    """Returns the path of the result of a picture.

    Args:
        source: the picture.
        folder: folder of the results.
        suffix: added to the name.
        extension: extension of the result, with its dot; by default that of the picture.

    Raises:
        TargetError: the suffix would change the folder.

    Examples:
        >>> from pathlib import Path
        >>> from mambair.imaging.targets import target_of
        >>> target_of(Path("in/bird.jpg"), "out", "x2", ".png").as_posix()
        'out/birdx2.png'
    """
    if any(each and each in suffix for each in (os.sep, os.altsep, "\0")):
        raise TargetError(f"suffix {suffix!r}: cannot be a part of file names")
    return Path(folder, f"{source.stem}{suffix}{source.suffix if extension is None else extension}")


def comparison_path(target: Path) -> Path:
    """Returns the path of the comparison that belongs to a result."""
    return target_of(target, target.parent, "_compare", ".png")


class UniqueNames:
    """Names for pictures in their order, each given once.

    Examples:
        >>> from mambair.imaging.targets import UniqueNames
        >>> names = UniqueNames()
        >>> [names.take(stem) for stem in ("a", "a_2", "a", "b", "a")]
        ['a', 'a_2', 'a_3', 'b', 'a_4']
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """Returns the name, with a number where another picture has it."""
        unique, number = name, 2
        while unique in self._taken:
            unique, number = f"{name}_{number}", number + 1
        self._taken.add(unique)
        return unique


def check_targets(jobs: Iterable[tuple[Path, Sequence[Path]]]) -> None:
    """Makes sure, before any work, that no result replaces a source or another result.

    Args:
        jobs: every picture and the files that are made of it.

    Raises:
        TargetError: one would; names both.
    """
    jobs = list(jobs)
    sources = {_place(source) for source, _ in jobs}
    written: dict[str, Path] = {}
    for source, targets in jobs:
        for target in targets:
            if _place(target) in sources:
                raise TargetError(
                    f"{target}: is a picture of the source and a result would replace it; "
                    "choose another output"
                )
            name = str(target).casefold()  # as file systems may see it
            if name in written:
                raise TargetError(
                    f"{source} and {written[name]} would both become {target}; "
                    "give them output folders of their own"
                )
            written[name] = source


def _place(path: Path) -> str:
    # Path.resolve() raises on a link to itself.
    return os.path.normcase(os.path.realpath(path))
