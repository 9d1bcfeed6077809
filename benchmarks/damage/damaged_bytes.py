"""Damage to the bytes of a file, as plain values, so that it can be drawn, shown and repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass

KINDS = ("cut", "flip", "zeros", "noise", "lost", "doubled", "spliced")
LARGEST = 2**20
_HEAD = 256  # bytes in which most formats say what is in them


@dataclass(frozen=True)
class Damage:
    """One thing that happens to a file.

    Attributes:
        kind: ``cut``: its end is missing; ``flip``: a byte has changed; ``zeros``, ``noise``: a
            run of bytes has; ``lost``: a run is missing; ``doubled``: a run is there twice;
            ``spliced``: it goes on as another file does.
        at: where, as a fraction: so many of 2²⁰.
        length: how long a run is, as a fraction of the file.
        value: what a byte is combined with, 1 to 255; the seed of noise.
        in_head: the place is among the first bytes.
    """

    kind: str
    at: int
    length: int
    value: int
    in_head: bool

    def apply(self, content: bytes, other: bytes) -> bytes:
        """Returns the damaged bytes.

        Args:
            content: a file.
            other: the file by which it is continued if it is ``spliced``.
        """
        if not content:
            return content
        at = self.at * (min(_HEAD, len(content)) if self.in_head else len(content)) // LARGEST
        end = at + 1 + self.length * (_HEAD if self.in_head else len(content) - at) // LARGEST
        if self.kind == "cut":
            return content[:at]
        if self.kind == "flip":
            return content[:at] + bytes([content[at] ^ self.value]) + content[at + 1 :]
        if self.kind == "spliced":
            return content[:at] + other[at:]
        run = content[at:end]
        put = {
            "zeros": bytes(len(run)),
            "noise": random.Random(self.value).randbytes(len(run)),
            "lost": b"",
            "doubled": run + run,
        }[self.kind]
        return content[:at] + put + content[end:]


def draw(rng: random.Random) -> list[Damage]:
    """Draws what happens to one file: one to six things."""
    return [
        Damage(
            rng.choice(("flip", rng.choice(KINDS))),
            rng.randrange(LARGEST),
            int(LARGEST * rng.random() ** 4),
            rng.randint(1, 255),
            rng.random() < 0.5,
        )
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6)))
    ]


def apply_all(damages: list[Damage], content: bytes, other: bytes) -> bytes:
    """Returns the bytes after one thing after the other has happened to them."""
    for each in damages:
        content = each.apply(content, other)
    return content
