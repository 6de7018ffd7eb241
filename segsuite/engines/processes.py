"""One training over several processes, as torchrun or SLURM start them: who this one is, and waiting for the first."""

from __future__ import annotations

import os
import time
from pathlib import Path

from segsuite.errors import OutputError

__all__ = ["local_world_size", "rank", "wait_for_first", "world_size"]

PATIENCE_SECONDS = 300.0


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
