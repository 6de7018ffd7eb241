from __future__ import annotations

import threading
from pathlib import Path

import pytest

from segsuite.engines.processes import local_world_size, rank, wait_for_first, world_size
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
