"""What this process may use of the machine: a container or a job scheduler often allows less than there is.

Linux limits cores and memory by control groups, which neither torch nor psutil look at: with two cores of 64 allowed, 64 threads
take turns, and memory that seems free gets the process killed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ControlGroups", "available_cores", "available_memory", "limit_threads", "shared_memory"]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps what processes share, no place for files
THREADS_OF_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
NO_LIMIT = 2**60
"""Bytes; version 1 writes "none" as the largest number of pages."""


@dataclass(frozen=True)
class ControlGroups:
    """The limits of the groups that this process is in, and of those around them.

    Attributes:
        root: Where the kernel shows the groups.
        own: Where it says which groups this process is in.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, scheduler/sched-bwc.rst.
    """

    root: Path = Path("/sys/fs/cgroup")
    own: Path = Path("/proc/self/cgroup")

    def cores(self) -> float | None:
        """Processor time per time; ``None``: no limit."""
        allowed = []
        for folder in self._folders("cpu"):
            both = _words(folder / "cpu.max") or [w for n in ("quota", "period") for w in _words(folder / f"cpu.cfs_{n}_us")]
            if len(both) == 2 and all(word.isdigit() for word in both):
                allowed.append(int(both[0]) / max(1, int(both[1])))
        return min(allowed, default=None)

    def memory_left(self) -> int | None:
        """Bytes until the first limit; files that the kernel only keeps at hand do not count as taken. ``None``: no limit."""
        left = []
        for folder in self._folders("memory"):
            for limit, taken, cached in (
                ("memory.max", "memory.current", "inactive_file"),
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            ):
                most, now = (_number(folder / name) for name in (limit, taken))
                if most is not None and now is not None and most < NO_LIMIT:
                    left.append(most - now + _entry(folder / "memory.stat", cached))
        return max(0, min(left)) if left else None

    def _folders(self, controller: str) -> Iterator[Path]:
        """The process's group and those around it, as far as they are shown here (a container sees its own as the root)."""
        for line in _lines(self.own):
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            base = next((self.root / name for name in (controllers, controller) if (self.root / name).is_dir()), None)
            inside = Path(path.lstrip("/"))
            if base is not None:
                yield from (base / part for part in (inside, *inside.parents) if (base / part).is_dir())


HERE = ControlGroups()


def available_cores() -> int:
    """How many cores this process may use; parts of a core do not count, but there is always one."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = HERE.cores()
    return n if allowed is None else max(1, min(n, int(allowed)))


def limit_threads() -> None:
    """Tell libraries how many threads they may have, where control groups limit the cores and the user has not said otherwise.

    It holds for what is loaded from now on, here and in processes that are started here.
    """
    if HERE.cores() is not None:
        for variable in THREADS_OF_LIBRARIES:
            os.environ.setdefault(variable, str(available_cores()))


def available_memory() -> int:
    """Bytes that this process may still take."""
    import psutil  # not for those who only ask for cores: the command line, at every start

    free = int(psutil.virtual_memory().available)
    left = HERE.memory_left()
    return free if left is None else min(free, left)


def shared_memory() -> int | None:
    """Bytes that processes may still share; ``None``: nothing limits them but memory. Containers often have 64 MB."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _number(path: Path) -> int | None:
    text = "".join(_words(path))
    return int(text) if text.isdigit() else None


def _entry(path: Path, name: str) -> int:
    return next((int(line.split()[1]) for line in _lines(path) if line.split()[:1] == [name]), 0)
