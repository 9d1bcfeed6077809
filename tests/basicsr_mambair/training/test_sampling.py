"""Which sample stands where."""

from __future__ import annotations

import pytest

from basicsr_mambair.training.sampling import Place, RunSampler


def sampler(pictures: int = 5, ratio: float = 2, batch: int = 4, **changes: int) -> RunSampler:
    return RunSampler(pictures, ratio, 7, batch, **{"batches": 6} | changes)


def test_every_epoch_holds_every_picture_as_often() -> None:
    places = list(sampler(batches=10))
    assert [place.position for place in places] == list(range(40))
    for epoch in range(4):
        pictures = [place.picture for place in places[epoch * 10 : epoch * 10 + 10]]
        assert sorted(pictures) == sorted([*range(5)] * 2)
    orders = {tuple(p.picture for p in places[e * 10 : e * 10 + 10]) for e in range(4)}
    assert len(orders) == 4, "epochs have the same order"


@pytest.mark.parametrize("start", [0, 3, 8, 23])
def test_it_can_begin_anywhere(start: int) -> None:
    whole = list(sampler(batches=20))
    assert list(sampler(start=start)) == whole[start : start + 24]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_a_global_batch(processes: int) -> None:
    one = list(sampler(batch=4))
    several = [
        list(sampler(batch=4 // processes, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    share = 4 // processes
    joined: list[Place] = []
    for number in range(6):
        for each in several:
            joined += each[number * share : (number + 1) * share]
    assert joined == one


def test_fewer_pictures_than_a_batch() -> None:
    places = list(sampler(pictures=3, ratio=1, batch=4, batches=5))
    assert len(places) == 20
    assert {place.picture for place in places[:4]} == {0, 1, 2}


def test_seeds_differ() -> None:
    first, second = ([p.picture for p in RunSampler(50, 1, seed, 5, batches=10)] for seed in (1, 2))
    assert first != second
