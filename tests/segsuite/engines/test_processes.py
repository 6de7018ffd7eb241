from __future__ import annotations

import threading
import warnings
from pathlib import Path

import pytest

from segsuite.engines import processes
from segsuite.engines.processes import (
    default_workers,
    local_world_size,
    rank,
    wait_for_first,
    workers_that_fit,
    world_size,
)
from segsuite.errors import Advice, OutputError


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
    monkeypatch.setattr(processes, "available_cores", lambda: 3)
    assert default_workers() == 2


@pytest.mark.parametrize(
    ("free_mb", "fitting"),
    [(1000, 4), (125, 4), (124, 3), (64, 1), (49, 0), (0, 0)],  # of 80 %, two batches of 10 MB each and two in the training
)
def test_loaders_go_by_what_they_can_share(free_mb: int, fitting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "shared_memory", lambda: free_mb * 1_000_000)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert workers_that_fit(4, batch_bytes=10_000_000) == fitting
    said = [str(warning.message) for warning in told]
    assert len(said) == (fitting < 4)
    assert all(f"{fitting} of 4 loader processes are used: /dev/shm has {free_mb} MB free" in text for text in said)


def test_trainings_on_one_machine_share_what_loaders_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "shared_memory", lambda: 125_000_000)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.warns(Advice, match="docker run --shm-size"):
        assert workers_that_fit(4, batch_bytes=10_000_000) == 1


def test_without_a_limit_all_loaders_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "shared_memory", lambda: None)
    assert workers_that_fit(8, batch_bytes=10**12) == 8
    monkeypatch.setattr(processes, "shared_memory", lambda: 0)
    assert workers_that_fit(0, batch_bytes=10) == 0
