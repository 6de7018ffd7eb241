"""Real processes that wait for work."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import pytest

from segsuite.engines import spare_process as module
from segsuite.engines.spare_process import spare_process, take_process

pytestmark = pytest.mark.slow


def tell_modules(told: Connection, _: Any) -> None:
    told.send((os.getpid(), "wave" in sys.modules))


def wait_until_stopped(told: Connection, stopped: Any) -> None:
    told.send("begun")
    stopped.wait(60)
    told.send("stopped")


def test_the_spare_process_is_taken_with_its_modules() -> None:
    with spare_process("wave"):
        (waiting,) = module._spare
        taken = take_process()
        taken.begin(tell_modules)
        assert taken.heard.recv() == (waiting.process.pid, True)
    assert taken.process.is_alive() or taken.process.exitcode == 0  # the block ends only what nobody took
    taken.end()


def test_a_spare_process_that_nobody_takes_ends_with_the_block() -> None:
    with spare_process():
        (waiting,) = module._spare
        assert waiting.process.is_alive()
    assert not module._spare
    assert waiting.process.exitcode == -signal.SIGKILL


def test_a_dead_spare_process_is_replaced() -> None:
    with spare_process():
        (waiting,) = module._spare
        waiting.process.kill()
        waiting.process.join()
        taken = take_process()
    taken.begin(tell_modules)
    pid, has_modules = taken.heard.recv()
    assert (pid == waiting.process.pid, has_modules) == (False, False)
    taken.end()


def test_signals_are_the_parents_business() -> None:
    taken = take_process()
    taken.begin(wait_until_stopped)
    assert taken.heard.recv() == "begun"
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(int(taken.process.pid or 0), number)
    time.sleep(0.1)
    taken.stopped.set()
    assert taken.heard.recv() == "stopped"
    taken.end()


def test_work_for_a_process_that_died_shows_as_its_end() -> None:
    taken = take_process()
    taken.process.kill()
    taken.process.join()
    taken.begin(tell_modules)
    with pytest.raises((EOFError, ConnectionResetError)):
        taken.heard.recv()
    taken.end()
