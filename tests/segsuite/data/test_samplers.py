from __future__ import annotations

from segsuite.data.samplers import EpochSampler


def test_epochs_follow_each_other() -> None:
    sampler = EpochSampler(4)
    first = list(sampler)
    sampler.set_epoch(3)
    assert first == [0, 1, 2, 3]
    assert list(sampler) == [12, 13, 14, 15]


def test_ranks_share_an_epoch_without_overlap() -> None:
    parts = [EpochSampler(6, rank=rank, world_size=2) for rank in range(2)]
    assert sorted(number for part in parts for number in part) == list(range(6))
    assert [len(part) for part in parts] == [3, 3]


def test_a_begun_epoch_gives_what_is_left_of_it_and_the_next_is_whole() -> None:
    for rank, left, later in ((0, [16], [18, 20, 22]), (1, [17], [19, 21, 23])):
        sampler = EpochSampler(6, rank=rank, world_size=2)
        sampler.go_on_at(2, 2)
        assert list(sampler) == left
        assert list(sampler) == left
        sampler.set_epoch(3)
        assert list(sampler) == later
