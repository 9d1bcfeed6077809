"""Progressive learning: a training in stages, whose crops grow while their batches shrink.

As in Restormer (Zamir et al., CVPR 2022, arXiv 2111.09881, section 3.3). Which stage an iteration
belongs to follows from its number alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from basicsr_mambair.options.fields import fields_of, option

_LISTS = ("gt_sizes", "mini_batch_sizes")  # one entry for each of `iters`


@dataclass
class ProgressiveOptions:
    """Progressive learning, of a training."""

    iters: list[int] | None = option(
        None, doc="Iterations of every stage; the last lasts to the end. Null: a single stage.",
        ge=1,
    )  # fmt: skip
    gt_sizes: list[int] | None = option(
        None, doc="`gt_size` of every stage, in its place.", ge=1, le=2**20
    )
    mini_batch_sizes: list[int] | None = option(
        None, doc="Crops a batch of every stage, in place of `batch_size_per_gpu`.", ge=1, le=65536
    )


class Stage(NamedTuple):
    """A part of a training.

    Attributes:
        number: from 1.
        first: its first iteration, from 1.
        batch: samples of an iteration, of one process.
        gt_size: side of the crops, in pixels of the result; ``None``: that of the dataset.
    """

    number: int
    first: int
    batch: int
    gt_size: int | None


class Stages(Sequence[Stage]):
    """The stages of a training, in their order.

    Args:
        stages: at least one, of which the first begins with iteration 1.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)

    @classmethod
    def of(cls, section: Mapping[str, Any], times: int = 1) -> Stages:
        """The stages that the section of a training's dataset describes.

        Args:
            section: ``datasets.train`` of checked options.
            times: GPUs of one process, each of which gets a batch.
        """
        batch = section.get("batch_size_per_gpu", 1)
        iters = section.get("iters")
        if not iters:
            return cls.single(batch * times)
        batches = section.get("mini_batch_sizes") or [batch] * len(iters)
        sizes = section.get("gt_sizes") or [None] * len(iters)
        firsts = (ended + 1 for ended in accumulate(iters[:-1], initial=0))
        return cls(
            [
                Stage(number, first, count * times, size)
                for number, (first, count, size) in enumerate(
                    zip(firsts, batches, sizes, strict=True), 1
                )
            ]
        )

    @classmethod
    def single(cls, batch: int, gt_size: int | None = None) -> Stages:
        """One stage from the first iteration to the last."""
        return cls([Stage(1, 1, batch, gt_size)])

    def __getitem__(self, index: Any) -> Any:
        return self._stages[index]

    def __len__(self) -> int:
        return len(self._stages)

    def at(self, iteration: int) -> Stage:
        """The stage of an iteration, from 1."""
        return next(stage for stage in reversed(self._stages) if stage.first <= max(1, iteration))

    def samples(self, iterations: int) -> int:
        """The number of samples of one process in the first ``iterations`` iterations."""
        ends = [stage.first - 1 for stage in self._stages[1:]]
        return sum(
            stage.batch * max(0, min(end, iterations) - stage.first + 1)
            for stage, end in zip(self._stages, [*ends, iterations], strict=True)
        )


def described(stage: Stage) -> str:
    """The sizes of a stage in words."""
    crops = "crops" if stage.gt_size is None else f"crops of {stage.gt_size}×{stage.gt_size}"
    return f"{crops}, batches of {stage.batch}"


def complete_stages(section: dict[str, Any]) -> None:
    """Sets the keys of a single stage, which are read in many places, to those of the stages.

    ``gt_size`` becomes the largest crop; a missing ``batch_size_per_gpu``, the largest batch. A
    ``gt_size`` that no crop can have stays, to be refused.
    """
    fields = fields_of(ProgressiveOptions)
    sizes, batches = (
        section.get(key) if fields[key].problem(section.get(key)) is None else None
        for key in _LISTS
    )
    given = section.get("gt_size")
    if sizes and (given is None or fields["gt_sizes"].problem([given]) is None):
        section["gt_size"] = max(sizes)
    if batches:
        section.setdefault("batch_size_per_gpu", max(batches))


def stage_problems(section: Mapping[str, Any], scale: int) -> Iterator[tuple[str, str]]:
    """What is wrong with the stages of a section whose values have the right types.

    Args:
        section: ``datasets.train``.
        scale: factor by which the network enlarges.

    Yields:
        A key, and what is wrong with it.
    """
    iters = section.get("iters")
    given = [key for key in _LISTS if section.get(key) is not None]
    if iters is None:
        for key in given:
            yield key, "needs iters, the iterations of every stage"
        return
    if not iters:
        yield "iters", "is empty; null stands for a single stage"
        return
    if not given:
        yield "iters", f"needs {' or '.join(_LISTS)}, of which stages would differ"
    for key in given:
        if len(section[key]) != len(iters):
            yield key, f"has {len(section[key])} entries where iters has {len(iters)}"
    for size in section.get("gt_sizes") or ():
        if size % scale:
            yield "gt_sizes", f"must be multiples of scale {scale}, got {size}"
            break
