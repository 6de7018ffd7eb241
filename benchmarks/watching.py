"""What a command takes while it runs, for the benchmarks beside this file."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

import psutil

__all__ = ["Taken", "watched"]


@dataclass(frozen=True)
class Taken:
    """Of a command and its children.

    Attributes:
        seconds: Wall time.
        sum_bytes: Highest resident memory of all together; pages that they share count several times.
        largest_bytes: Highest resident memory of a single one.
    """

    seconds: float
    sum_bytes: int
    largest_bytes: int


def watched(command: list[str]) -> Taken:
    """Run a command and look at it twenty times a second; ends this program where the command fails."""
    started, together, largest = time.monotonic(), 0, 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            sizes = [member.memory_info().rss for member in (process, *process.children(recursive=True))]
            together, largest = max(together, sum(sizes)), max(largest, *sizes)
        except psutil.Error:
            pass
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{command[1:4]} failed with {process.returncode}")
    return Taken(time.monotonic() - started, together, largest)
