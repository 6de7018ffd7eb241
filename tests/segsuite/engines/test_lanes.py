from __future__ import annotations

import threading
import time

import pytest

from segsuite.engines.lanes import BusyClock, Room, most_voxels_in_hand, run_in_lanes


def plenty(_: object) -> float:
    return 0


def test_every_item_is_worked_on_once() -> None:
    done: list[int] = []
    assert run_in_lanes(range(50), done.append, n_lanes=4, size=plenty, capacity=1) == 50
    assert sorted(done) == list(range(50))


def test_lanes_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=20)  # broken unless three are in hand together
    assert run_in_lanes(range(6), lambda _: meeting.wait(), n_lanes=3, size=plenty, capacity=1) == 6


def test_no_more_is_in_hand_than_there_is_room_for_and_a_large_item_is_alone() -> None:
    in_hand, most, lock = [0.0], [0.0], threading.Lock()
    alone: list[bool] = []

    def work(size: float) -> None:
        with lock:
            in_hand[0] += size
            most[0] = max(most[0], in_hand[0] if size <= 10 else 0)
        time.sleep(0.005)
        with lock:
            if size > 10:
                alone.append(in_hand[0] == size)
            in_hand[0] -= size

    run_in_lanes([4, 5, 3, 100, 6, 4, 2, 100, 9], work, n_lanes=4, size=float, capacity=10)
    assert 0 < most[0] <= 10
    assert alone == [True, True]


def test_the_first_failure_ends_all_lanes_and_is_raised() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_in_lanes(range(1000), work, n_lanes=2, size=plenty, capacity=1)
    assert len(begun) < 1000


def test_told_to_stop_it_finishes_what_is_in_hand() -> None:
    done: list[int] = []
    n_begun = run_in_lanes(range(100), done.append, n_lanes=3, size=plenty, capacity=1, stop=lambda: len(done) >= 5)
    assert 5 <= n_begun == len(done) < 100
    assert run_in_lanes(range(3), done.append, n_lanes=2, size=plenty, capacity=1, stop=lambda: True) == 0


def test_what_is_taken_comes_back_also_after_a_failure() -> None:
    room = Room(1)
    with pytest.raises(ValueError), room.taken(1):
        raise ValueError
    with room.taken(1):
        pass


def test_the_clock_counts_two_inside_once() -> None:
    clock = BusyClock()
    with clock.inside(), clock.inside():
        time.sleep(0.02)
    time.sleep(0.02)
    assert 0.1 < clock.busy_share < 0.9


def test_memory_has_room_for_a_volume() -> None:
    assert most_voxels_in_hand() > 1e6
