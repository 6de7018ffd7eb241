from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from segsuite.engines.processes import available_cores, default_workers, local_world_size, rank, wait_for_first, world_size
from segsuite.errors import OutputError


def test_alone_without_a_launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), world_size(), local_world_size()) == (0, 1, 1)
    wait_for_first(tmp_path / "never")


def test_others_wait_for_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert (rank(), world_size(), local_world_size()) == (1, 4, 2)
    threading.Timer(0.2, (tmp_path / "made").touch).start()
    wait_for_first(tmp_path / "made")
    with pytest.raises(OutputError, match="must be made by the first process within 0 s, got nothing"):
        wait_for_first(tmp_path / "never", patience_seconds=0.0)


def test_loaders_go_by_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [default_workers(n) for n in (1, 4, 64)] == [0, 3, 8]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert (available_cores(), default_workers()) == (3, 2)
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cores() == 6
