"""Several cases side by side, each in a lane (a thread) of its own from reading to writing: what feeds a GPU.

A GPU segments faster than one thread reads, prepares, compares and writes. While one lane waits for the disk or for a single
core, another one has work for the GPU. Memory bounds how many cases are in hand, whatever their size.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

from segsuite.engines.machine import available_cores, available_memory

__all__ = ["BusyClock", "Room", "most_voxels_in_hand", "run_in_lanes"]

Item = TypeVar("Item")
BYTES_PER_VOXEL = 16
"""That a case takes on its way to the network: as stored, in single precision, and while it is resampled."""


class BusyClock:
    """For how long at least one thread was inside."""

    def __init__(self) -> None:
        """Start."""
        self._lock = threading.Lock()
        self._n_inside = 0
        self._since = 0.0
        self._seconds = 0.0
        self._started = time.monotonic()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count this block."""
        with self._lock:
            if self._n_inside == 0:
                self._since = time.monotonic()
            self._n_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_inside -= 1
                if self._n_inside == 0:
                    self._seconds += time.monotonic() - self._since

    @property
    def busy_share(self) -> float:
        """Of the time since the start."""
        return self._seconds / max(time.monotonic() - self._started, 1e-9)


class Room:
    """What threads share, for example memory: each takes what it needs and waits while too much is taken."""

    def __init__(self, capacity: float) -> None:
        """Set up.

        Args:
            capacity: That may be taken together; one that needs more is alone.
        """
        self.capacity = capacity
        self._taken = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, amount: float) -> Iterator[None]:
        """Take for the time of the block.

        Args:
            amount: How much.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + amount <= self.capacity)
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify_all()


def most_voxels_in_hand() -> float:
    """Of all cases that are in hand together: they take half of the memory that is free."""
    return available_memory() / (2 * BYTES_PER_VOXEL)


def run_in_lanes(
    items: Iterable[Item],
    work: Callable[[Item], None],
    *,
    n_lanes: int,
    size: Callable[[Item], float],
    capacity: float,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Work on all items, some at the same time.

    Args:
        items: In order of their beginning.
        work: All that is done with one; called in several threads.
        n_lanes: Items in hand at most.
        size: What an item takes of the capacity.
        capacity: Of all in hand together.
        stop: Asked before each item; when true, those in hand are finished and no other is begun.

    Returns:
        Items that were begun.

    Raises:
        BaseException: The first that ``work`` raised, after all lanes have ended.
    """
    room, lock, waiting = Room(capacity), threading.Lock(), iter(items)
    failures: list[BaseException] = []
    n_begun = 0

    def lane() -> None:
        nonlocal n_begun
        for item in _shared(waiting, lock, lambda: bool(failures) or stop()):
            with lock:
                n_begun += 1
            try:
                with room.taken(size(item)):
                    work(item)
            except BaseException as error:
                failures.append(error)

    lanes = [threading.Thread(target=lane, name=f"lane_{number}") for number in range(n_lanes)]
    with threadpool_limits(max(1, available_cores() // n_lanes)):
        for thread in lanes:
            thread.start()
        for thread in lanes:
            thread.join()
    if failures:
        raise failures[0]
    return n_begun


def _shared(items: Iterator[Item], lock: threading.Lock, is_over: Callable[[], bool]) -> Iterator[Item]:
    """Items of an iterator that several threads draw from."""
    while True:
        with lock:
            if is_over():
                return
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
