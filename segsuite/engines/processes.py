"""One training over several processes, as torchrun or SLURM start them: who this one is, what it has and tells."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from segsuite.errors import OutputError

__all__ = ["Tell", "available_cores", "default_workers", "local_world_size", "rank", "wait_for_first", "world_size"]

PATIENCE_SECONDS = 300.0
MOST_WORKERS = 8


class Tell(Protocol):
    """Reports what is being done and which share of it is done."""

    def __call__(self, doing: str, share: float, **numbers: float) -> None:
        """Report."""


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(n_cores: int | None = None) -> int:
    """One loader process per core that is left beside the main one, at most 8.

    Args:
        n_cores: What the training may use; ``None``: what this process may.

    Returns:
        How many.
    """
    return min(MOST_WORKERS, max(0, (n_cores or available_cores()) - 1))


def rank() -> int:
    """This process's number among all, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size())))


def wait_for_first(path: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Let the first process make a file; the others wait until it is there.

    Args:
        path: What the first process makes, atomically.
        patience_seconds: How long.

    Raises:
        OutputError: It did not appear: the first process has failed, or the folder is not shared.
    """
    if rank() == 0:
        return
    started = time.monotonic()
    while not path.is_file():
        if time.monotonic() - started > patience_seconds:
            raise OutputError(
                f"{path} must be made by the first process within {patience_seconds:.0f} s, got nothing. See that process's "
                "message; with several machines the run folder must be on shared storage."
            )
        time.sleep(0.1)
