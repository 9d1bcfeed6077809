"""What came of damage that was done: how often a fault was named, survived, or neither."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass
class Outcome:
    """The counts of one kind of damage; every try ends in exactly one of the three.

    Attributes:
        damage: what was done, as a row of the table says it.
        named: tries that ended with one sentence, which names the fault.
        survived: tries after which everything was right all the same: the run ended bit for bit as
            one that was not damaged, the file was read with the right contents.
        unnamed: what was seen in each of the other tries: a traceback, a crash, a hang, a wrong
            result without a word. With the seed it tells how to do it again.
    """

    damage: str
    named: int = 0
    survived: int = 0
    unnamed: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How often the damage was done."""
        return self.named + self.survived + len(self.unnamed)

    def as_json(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {
            "damage": self.damage, "tried": self.tried, "named": self.named,
            "survived": self.survived, "unnamed": self.unnamed,
        }  # fmt: skip


class Provoke(Protocol):
    """The function ``provoke`` of every module here that does damage."""

    def __call__(self, budget: int, seed: int, folder: Path) -> list[Outcome]:
        """Does damage and counts what comes of it.

        Args:
            budget: about how many tries, over all rows; a module says in ``QUICK`` how many take
                a test some seconds, and in ``FULL`` how many make the page docs/reliability.md.
            seed: of everything that is drawn; the same seed does the same damage.
            folder: an empty folder of its own.

        Returns:
            One outcome for every row of the table.
        """
        ...
