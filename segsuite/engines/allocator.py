"""What the C library does with memory that a network gives back after every layer: kept for the next one, not returned."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of glibc's ``mallopt(3)``."""
LARGE_BYTES = 64_000_000
"""A piece this large (a volume) is still returned at once; smaller ones (a layer's output) are used again."""
KEPT_BYTES = 256_000_000
"""At the end of the heap, before it shrinks."""


def keep_freed_memory() -> None:
    """Spare the system from giving out, clearing and taking back the same pages for every layer; only where glibc is."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1)):
            mallopt(parameter, value)
