from __future__ import annotations

import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import sys, time
from segsuite.engines.watchdog import Watchdog
dog = Watchdog({limit})
for number in range(4):
    dog.begin(f"good {{number}}")
    time.sleep(0.1)
    dog.end(f"good {{number}}")
dog.rest()
time.sleep(0.6)
print("rested", flush=True)
dog.begin("bad")
dog.begin("beside")
dog.end("beside")
{hang}
"""


def run(hang: str, limit: str = "0.3") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hang=hang, limit=limit)], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_case_that_stands_still_ends_the_process_without_a_word() -> None:
    started = time.monotonic()
    ended = run("time.sleep(50)")
    assert time.monotonic() - started < 40
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "rested\n", "")


def test_without_a_limit_nothing_is_watched() -> None:
    assert run("time.sleep(0.5)", limit="None").returncode == 0
