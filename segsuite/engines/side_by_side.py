"""Several trainings at once on one machine, each in a process of its own; one that dies costs only itself."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from segsuite.engines.processes import Tell
from segsuite.engines.spare_process import WorkProcess, named_end, start_process
from segsuite.errors import InputError

__all__ = ["Job", "run_side_by_side"]

SECONDS_BETWEEN_WORDS = 1.0


@dataclass(frozen=True)
class Job:
    """One of several.

    Attributes:
        name: What users know it by.
        work: Called in the process with its place among those that run at once, from 0, and with what tells the progress; must
            be picklable.
        log: Gets what the process prints.
    """

    name: str
    work: Callable[[int, Tell], None]
    log: Path


def run_side_by_side(jobs: Sequence[Job], *, at_once: int, tell: Tell) -> dict[str, str]:
    """Run all jobs, so many at a time; whatever ends this also ends those that run.

    Args:
        jobs: What is to be done.
        at_once: How many run at the same time.
        tell: Told the progress of all.

    Returns:
        Name of a job to why it failed; the others are done.
    """
    waiting, running, failures = list(jobs), dict[int, _Running](), dict[str, str]()
    shares: dict[str, float] = {job.name: 0.0 for job in jobs}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                place = next(n for n in range(at_once) if n not in running)
                running[place] = _begin(waiting.pop(0), place, at_once)
            for heard in wait([job.child.heard for job in running.values()]):
                place = next(n for n, job in running.items() if job.child.heard is heard)
                job = running[place]
                kind, content = job.hear()
                if kind == "progress":
                    shares[job.name] = content
                else:
                    running.pop(place).child.end()
                    shares[job.name] = 1.0
                    if content:
                        failures[job.name] = f"{content}; see {job.log}"
                names = ", ".join(sorted(job.name for job in running.values()))
                tell(f"training {names or 'is over'}", sum(shares.values()) / len(jobs))
    finally:
        for job in running.values():
            job.child.end()
    return failures


@dataclass(frozen=True, eq=False)
class _Running:
    name: str
    child: WorkProcess
    log: Path

    def hear(self) -> tuple[str, Any]:
        """``progress`` and the share, or ``end`` and the reason if it failed."""
        try:
            kind, content = self.child.heard.recv()
        except (EOFError, ConnectionResetError):
            self.child.process.join()
            return "end", f"its process {named_end(self.child.process.exitcode)}"
        return kind, content


def _begin(job: Job, place: int, n_places: int) -> _Running:
    child = start_process(daemon=False)  # loaders need processes of their own
    child.begin(partial(_work, job, place, n_places))
    return _Running(job.name, child, job.log)


def _work(job: Job, place: int, n_places: int, told: Connection, _: Any) -> None:
    _keep_to_share(place, n_places)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    try:
        job.work(place, _Told(told))
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        traceback.print_exc()  # into the log
        told.send(("end", str(error) or type(error).__name__))
    else:
        told.send(("end", ""))


def _keep_to_share(place: int, n_places: int) -> None:
    """Of the cores, where the system can: threads and loaders are then as many as fit."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        own = cores[place * len(cores) // n_places : (place + 1) * len(cores) // n_places]
        os.sched_setaffinity(0, own or cores)


class _Told:
    """Sends progress to the parent, not more often than anybody reads it."""

    def __init__(self, told: Connection) -> None:
        self.told, self.last = told, 0.0

    def __call__(self, doing: str, share: float, **numbers: float) -> None:
        if time.monotonic() - self.last > SECONDS_BETWEEN_WORDS:
            self.last = time.monotonic()
            self.told.send(("progress", share))
