"""Which sample stands where, and in which batch."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from basicsr_mambair.options.progressive import Stages
from basicsr_mambair.training.sampling import Place, RunSampler

STAGES = {"iters": [4, 3, 2], "gt_sizes": [16, 24, 32], "mini_batch_sizes": [5, 2, 1]}


def sampler(
    pictures: int = 5, ratio: float = 2, batch: int = 4, last: int = 6, **changes: Any
) -> RunSampler:
    return RunSampler(pictures, ratio, 7, Stages.single(batch), last, **changes)


def places_of(one: RunSampler) -> list[Place]:
    return list(chain(*one))


def test_every_epoch_holds_every_picture_as_often() -> None:
    places = places_of(sampler(last=10))
    assert [place.position for place in places] == list(range(40))
    for epoch in range(4):
        pictures = [place.picture for place in places[epoch * 10 : epoch * 10 + 10]]
        assert sorted(pictures) == sorted([*range(5)] * 2)
    orders = {tuple(p.picture for p in places[e * 10 : e * 10 + 10]) for e in range(4)}
    assert len(orders) == 4, "epochs have the same order"


@pytest.mark.parametrize("start", [0, 3, 8, 23])
def test_it_can_begin_anywhere(start: int) -> None:
    whole = places_of(sampler(last=20))
    assert places_of(sampler(start=start)) == whole[start : start + 24]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_a_global_batch(processes: int) -> None:
    one = list(sampler(batch=4))
    several = [
        list(sampler(batch=4 // processes, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    assert [list(chain(*parts)) for parts in zip(*several, strict=True)] == one


def test_fewer_pictures_than_a_batch() -> None:
    batches = list(sampler(pictures=3, ratio=1, batch=4, last=5))
    assert [len(batch) for batch in batches] == [4] * 5
    assert {place.picture for place in batches[0]} == {0, 1, 2}


def test_seeds_differ() -> None:
    first, second = (
        [p.picture for p in places_of(RunSampler(50, 1, seed, Stages.single(5), 10))]
        for seed in (1, 2)
    )
    assert first != second


def test_batches_and_crops_have_the_sizes_of_their_stage() -> None:
    batches = list(RunSampler(5, 1, 7, Stages.of(STAGES), 11))
    assert [len(batch) for batch in batches] == [5] * 4 + [2] * 3 + [1] * 4
    sizes = [{place.gt_size for place in batch} for batch in batches]
    assert sizes == [{16}] * 4 + [{24}] * 3 + [{32}] * 4, "the last stage lasts to the end"
    assert [p.position for p in chain(*batches)] == list(range(20 + 6 + 4)), "none is thrown away"


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("done", range(12))
def test_a_run_continues_inside_any_stage(done: int, processes: int) -> None:
    for rank in range(processes):
        shared: dict[str, Any] = {"rank": rank, "processes": processes}
        whole = list(RunSampler(5, 1, 7, Stages.of(STAGES), 11, **shared))
        rest = RunSampler(5, 1, 7, Stages.of(STAGES), 11, done=done, **shared)
        assert list(rest) == whole[done:]
        assert len(rest) == len(whole[done:])
        for iteration in range(done + 1, 12):
            expected = whole[iteration - 1][0].position - rank * len(whole[iteration - 1])
            assert rest.position_before(iteration) == expected


def test_stages_by_iteration() -> None:
    stages = Stages.of(STAGES, times=2)
    assert [stages.at(iteration).number for iteration in (0, 1, 4, 5, 7, 8, 99)] == [
        1, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    assert [stages.samples(count) for count in (0, 1, 4, 5, 9, 10)] == [0, 10, 40, 44, 56, 58]
    assert Stages.of({"batch_size_per_gpu": 3}).samples(7) == 21
    partly = Stages.of({"batch_size_per_gpu": 3, "iters": [2, 2], "gt_sizes": [8, 16]})
    assert [(stage.batch, stage.gt_size) for stage in partly] == [(3, 8), (3, 16)]
