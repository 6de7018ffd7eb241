"""Freed memory is used again; in a process of its own, since the setting stays."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

LOOP = """
import resource
import numpy as np
from segsuite.engines.allocator import keep_freed_memory

def faults(n_rounds, n_bytes=20_000_000):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n_rounds):
        layers = [np.ones(n_bytes, dtype=np.uint8) for _ in range(3)]
        del layers
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / n_rounds

keep_freed_memory()
faults(2)
print(faults(10), faults(3, 200_000_000))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_pages_of_layers_are_kept_and_those_of_volumes_returned() -> None:
    found = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, text=True, check=True)
    of_layers, of_volumes = map(float, found.stdout.split())
    pages_of_layers = 3 * 20_000_000 / 4096
    assert of_layers < pages_of_layers / 20
    assert of_volumes > 3  # given out anew, in pages of whatever size
