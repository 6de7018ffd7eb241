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
