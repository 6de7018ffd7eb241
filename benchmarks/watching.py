"""What a command takes while it runs, for the benchmarks beside this file."""

from __future__ import annotations

import shutil
import statistics
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
        gpu_share: Share of the time from its first kernel to its last in which the GPU computed; 0 without one.
        gpu_bytes: Highest memory of the GPU, of all that runs on it.
    """

    seconds: float
    sum_bytes: int
    largest_bytes: int
    gpu_share: float = 0.0
    gpu_bytes: int = 0


def watched(command: list[str], *, gpu: bool = False) -> Taken:
    """Run a command and look at it twenty times a second; ends this program where the command fails."""
    samples = _watch_gpu() if gpu else None
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
    seconds = time.monotonic() - started
    if samples is None:
        return Taken(seconds, together, largest)
    samples.terminate()
    rows = [[float(text) for text in line.split(",")] for line in samples.communicate()[0].splitlines() if line.count(",") == 1]
    shares, sizes = zip(*rows, strict=True)
    busy = [number for number, share in enumerate(shares) if share > 0] or [0]
    share = statistics.mean(shares[busy[0] : busy[-1] + 1]) / 100
    return Taken(seconds, together, largest, share, int(max(sizes) * 2**20))


def _watch_gpu() -> subprocess.Popen[str]:
    command = [shutil.which("nvidia-smi") or "nvidia-smi", "--query-gpu=utilization.gpu,memory.used"]
    return subprocess.Popen([*command, "--format=csv,noheader,nounits", "-lms", "100"], stdout=subprocess.PIPE, text=True)
