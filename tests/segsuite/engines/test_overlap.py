from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from segsuite.engines.overlap import Conveyor, Waiting


def test_order_is_kept_and_everything_is_put_away() -> None:
    stored: list[int] = []
    with Conveyor(lambda n: n * 10) as conveyor:
        for value in conveyor.items(range(5)):
            conveyor.put_away(lambda value=value: stored.append(value))
    assert stored == [0, 10, 20, 30, 40]


def test_next_is_fetched_while_this_one_is_worked_on() -> None:
    fetched = [threading.Event() for _ in range(3)]

    def fetch(number: int) -> int:
        fetched[number].set()
        return number

    with Conveyor(fetch) as conveyor:
        for number in conveyor.items(range(3)):
            assert fetched[min(number + 1, 2)].wait(timeout=10), "it waits for nothing that this loop must do"


def test_never_more_than_one_ahead() -> None:
    begun: list[int] = []
    with Conveyor(lambda n: begun.append(n) or n) as conveyor:
        for number in conveyor.items(range(6)):
            time.sleep(0.01)
            assert max(begun) <= number + 1


@pytest.mark.parametrize("large", [{2}, {0, 1, 2, 3}, set()])
def test_a_large_item_is_alone(large: set[int]) -> None:
    present: set[int] = set()
    most = 0

    def fetch(number: int) -> int:
        nonlocal most
        present.add(number)
        assert not large & present or len(present) == 1, f"{present} together"
        most = max(most, len(present))
        return number

    def store(number: int) -> None:
        time.sleep(0.02)
        present.discard(number)

    with Conveyor(fetch, is_large=large.__contains__) as conveyor:
        order = []
        for number in conveyor.items(range(4)):
            time.sleep(0.02)
            order.append(number)
            conveyor.put_away(partial(store, number))
    assert order == [0, 1, 2, 3]
    assert not present
    assert most == (1 if len(large) == 4 else most)


def test_without_threads_all_happens_here() -> None:
    names: set[str] = set()
    with Conveyor(lambda n: names.add(threading.current_thread().name), ahead=False) as conveyor:
        for _ in conveyor.items(range(2)):
            conveyor.put_away(lambda: names.add(threading.current_thread().name))
    assert names == {threading.current_thread().name}


@pytest.mark.parametrize("ahead", [True, False])
def test_errors_reach_the_caller(ahead: bool) -> None:
    def fails() -> None:
        raise OSError("disk full")

    def run() -> None:
        with Conveyor(lambda n: n, ahead=ahead) as conveyor:
            for _ in conveyor.items(range(2)):
                conveyor.put_away(fails)

    with pytest.raises(OSError, match="disk full"):
        run()


def test_waiting_is_measured() -> None:
    with Conveyor(lambda n: time.sleep(0.05)) as conveyor:
        for _ in conveyor.items(range(3)):
            pass
    assert 0 <= conveyor.waiting.busy_share < 0.5
    assert Waiting().busy_share == 1


def test_waiting_for_the_last_result_is_part_of_the_time() -> None:
    """One quick case that is written slowly: the share was below zero."""
    with Conveyor(lambda n: n) as conveyor:
        for _ in conveyor.items(range(1)):
            conveyor.put_away(partial(time.sleep, 0.1))
    assert 0 <= conveyor.waiting.busy_share <= 1
