"""Work on one item while the next one is fetched and the last one is put away; memory holds at most one of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Conveyor", "Waiting"]

Item = TypeVar("Item")
Fetched = TypeVar("Fetched")


@dataclass
class Waiting:
    """How long the middle of the work had nothing to do.

    Attributes:
        seconds: Waited for fetching or for putting away.
        total_seconds: From the first item to the last thing that was put away.
    """

    seconds: float = 0.0
    total_seconds: float = 0.0

    @property
    def busy_share(self) -> float:
        """Share of the time in which the middle worked."""
        return 1 - self.seconds / self.total_seconds if self.total_seconds else 1.0


class Conveyor(Generic[Item, Fetched]):
    """Fetches ahead in one thread and puts away in another."""

    def __init__(
        self, fetch: Callable[[Item], Fetched], *, ahead: bool = True, is_large: Callable[[Item], bool] = lambda _: False
    ) -> None:
        """Set up.

        Args:
            fetch: Item to what the middle works on.
            ahead: ``False``: one thing after the other, in the caller's thread.
            is_large: Whether memory has no room for an item beside another: nothing is fetched ahead of it, nor it itself.
        """
        self.fetch, self.ahead, self.is_large = fetch, ahead, is_large
        self.waiting = Waiting()
        self._storing: Future[None] | None = None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="conveyor") if ahead else None

    def items(self, items: Iterable[Item]) -> Iterator[Fetched]:
        """Fetched items in order; the next one is fetched while the caller works.

        Args:
            items: What to fetch.

        Yields:
            One at a time.
        """
        started = time.monotonic()
        if self._threads is None:
            for item in items:
                yield self.fetch(item)
        else:
            pending: Future[Fetched] | None = None
            was_large = False
            for item in items:
                large = self.is_large(item)
                if pending is not None and (large or was_large):
                    yield self._waited(pending)
                    pending = None
                    self._wait_for_store()
                was_large = large
                following = self._threads.submit(self.fetch, item)
                if pending is not None:
                    yield self._waited(pending)
                pending = following
            if pending is not None:
                yield self._waited(pending)
        self.waiting.total_seconds += time.monotonic() - started

    def put_away(self, store: Callable[[], None]) -> None:
        """Store a result while the caller goes on; waits for the one before it, and raises what that raised.

        Args:
            store: Stores one result.
        """
        if self._threads is None:
            store()
            return
        self._wait_for_store()
        self._storing = self._threads.submit(store)

    def __enter__(self) -> Conveyor[Item, Fetched]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                started = time.monotonic()
                self._wait_for_store()
                self.waiting.total_seconds += time.monotonic() - started
        finally:
            if self._threads is not None:
                self._threads.shutdown(wait=True, cancel_futures=True)

    def _wait_for_store(self) -> None:
        if self._storing is not None:
            storing, self._storing = self._storing, None
            self._waited(storing)

    def _waited(self, future: Future[Fetched] | Future[None]) -> Fetched:
        started = time.monotonic()
        try:
            return future.result()  # type: ignore[return-value]
        finally:
            self.waiting.seconds += time.monotonic() - started
