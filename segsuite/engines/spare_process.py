"""Processes that wait for work, started before the work is known: what takes seconds to import is imported meanwhile."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["WorkProcess", "named_end", "spare_process", "start_process", "take_process"]

_SPAWN = multiprocessing.get_context("spawn")
Work = Callable[[Connection, Any], None]
"""Called in the process, with what tells the parent and with an event that says when to stop; must be picklable."""


@dataclass(frozen=True, eq=False)
class WorkProcess:
    """A child that dies with its parent, and that Ctrl-C and SIGTERM do not reach: the parent hears both and decides.

    Attributes:
        process: The child.
        heard: What the child tells.
        stopped: Set it to tell the child to stop.
    """

    process: BaseProcess
    heard: Connection
    stopped: Any

    def begin(self, work: Work) -> None:
        """Give it its work; whether it lives to do it shows when its end is heard."""
        with suppress(OSError):
            self.heard.send(work)

    def end(self) -> None:
        """Kill it, whatever it does."""
        self.process.kill()
        self.process.join()
        self.heard.close()


_spare: list[WorkProcess] = []


@contextmanager
def spare_process(*modules: str) -> Iterator[None]:
    """Start a process now for the first ``take_process`` of this block; nobody may need it.

    Args:
        modules: Imported meanwhile.
    """
    started = start_process(modules)
    _spare.append(started)
    try:
        yield
    finally:
        if started in _spare:
            _spare.remove(started)
            started.end()


def take_process() -> WorkProcess:
    """The spare process, where there is one that lives; a new one otherwise."""
    while _spare:
        taken = _spare.pop()
        if taken.process.is_alive():
            return taken
        taken.end()
    return start_process()


def start_process(modules: Sequence[str] = (), *, daemon: bool = True) -> WorkProcess:
    """A process that waits for its work.

    Args:
        modules: Imported meanwhile.
        daemon: Whether Python ends it by itself; such a process may not start others.

    Returns:
        The process.
    """
    heard, told = _SPAWN.Pipe()
    stopped = _SPAWN.Event()
    process = _SPAWN.Process(target=_wait_for_work, args=(told, stopped, modules), daemon=daemon)
    process.start()
    told.close()
    return WorkProcess(process, heard, stopped)


def named_end(code: int | None) -> str:
    """How a process ended, after its name: ``died of SIGSEGV``.

    Args:
        code: Its exit code.
    """
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            hint = " (often the system's memory guard)" if name == "SIGKILL" else ""
            return f"died of {name}{hint}"
    return f"ended with exit code {code}"


def _wait_for_work(told: Connection, stopped: Any, modules: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in modules:
        importlib.import_module(name)
    work: Work = told.recv()
    work(told, stopped)


def _end_with_parent() -> None:
    """A child must not go on writing into a folder that the next command may already use."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
