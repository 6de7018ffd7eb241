"""Ends this process when a case stands still in it, whatever holds it up: another process takes over what it had in hand."""

from __future__ import annotations

import faulthandler
import os
import threading

__all__ = ["Watchdog"]


class Watchdog:
    """Watches the oldest case in hand; its timer is the interpreter's own and runs also while a library holds the interpreter."""

    def __init__(self, limit_s: float | None) -> None:
        """Set up.

        Args:
            limit_s: For one case; ``None``: nothing is watched.
        """
        self.limit_s = limit_s
        self._in_hand: list[str] = []
        self._watched = ""
        self._lock = threading.Lock()
        self._nowhere = os.open(os.devnull, os.O_WRONLY)  # instead of the traces that it would print

    def begin(self, case_id: str) -> None:
        """A case is in hand."""
        with self._lock:
            self._in_hand.append(case_id)
            self._watch()

    def end(self, case_id: str) -> None:
        """A case is over."""
        with self._lock:
            self._in_hand.remove(case_id)
            self._watch()

    def rest(self) -> None:
        """Nothing is in hand any more."""
        with self._lock:
            self._in_hand.clear()
            self._watch()

    def _watch(self) -> None:
        oldest = self._in_hand[0] if self._in_hand else ""
        if self.limit_s is None or oldest == self._watched:
            return
        faulthandler.cancel_dump_traceback_later()
        if oldest:
            faulthandler.dump_traceback_later(self.limit_s, exit=True, file=self._nowhere)
        self._watched = oldest
