"""One training over several processes, as torchrun or SLURM start them: who this one is, what it has and tells."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path
from typing import Protocol

from segsuite.engines.machine import available_cores, shared_memory
from segsuite.errors import Advice, OutputError

__all__ = [
    "Tell",
    "default_workers",
    "let_training_end_first",
    "local_world_size",
    "rank",
    "wait_for_first",
    "workers_that_fit",
    "world_size",
]

PATIENCE_SECONDS = 300.0
MOST_WORKERS = 8
BATCHES_AHEAD = 2
"""That torch lets each loader process make."""
SHARE_OF_SHARED = 0.8
"""Of the free shared memory; others use it too."""


class Tell(Protocol):
    """Reports what is being done and which share of it is done."""

    def __call__(self, doing: str, share: float, **numbers: float) -> None:
        """Report."""


def default_workers(n_cores: int | None = None) -> int:
    """One loader process per core that is left beside the main one, at most 8.

    Args:
        n_cores: What the training may use; ``None``: what this process may.

    Returns:
        How many.
    """
    return min(MOST_WORKERS, max(0, (n_cores or available_cores()) - 1))


def workers_that_fit(wanted: int, *, batch_bytes: int) -> int:
    """So many loader processes that the batches which they hold ready fit into the memory that processes can share.

    Where they do not, a loader cannot hand its batch over and training dies ("unable to allocate shared memory", or a bus error);
    containers often have 64 MB.

    Args:
        wanted: Loader processes.
        batch_bytes: Of one batch.

    Returns:
        At most as many; 0: the batches are made in the training's own process. A warning says so where it is fewer.
    """
    free = shared_memory()
    if not wanted or free is None:
        return wanted
    n_batches = int(SHARE_OF_SHARED * free / local_world_size()) // max(1, batch_bytes)
    fitting = max(0, min(wanted, n_batches // BATCHES_AHEAD - 1))
    if fitting < wanted:
        warnings.warn(
            f"{fitting} of {wanted} loader processes are used: /dev/shm has {free / 1e6:.0f} MB free, and a batch takes "
            f"{batch_bytes / 1e6:.0f} MB. Give the container more (docker run --shm-size=8g, or --ipc=host).",
            Advice,
            stacklevel=2,
        )
    return fitting


def let_training_end_first(_: int = 0) -> None:
    """For a loader process: a first SIGTERM is the training's to obey, which needs the batch in hand; a second one ends it.

    Schedulers and service managers send the signal to all processes of a job at once.
    """

    def asked(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, asked)


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
