"""Jobs in real processes: at the same time, and each with its own fate."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from segsuite.engines.machine import available_cores
from segsuite.engines.processes import Tell
from segsuite.engines.side_by_side import Job, run_side_by_side
from segsuite.errors import OutputError

pytestmark = pytest.mark.slow


def meets(folder: Path, own: str, other: str, place: int, tell: Tell) -> None:
    """Ends only if the other one runs at the same time."""
    tell("working", 0.5)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0)))) if hasattr(os, "sched_getaffinity") else f"share {place}"
    (folder / own).write_text(f"{place} {cores}")
    until = time.monotonic() + 60
    while not (folder / other).exists():
        if time.monotonic() > until:
            raise RuntimeError(f"{other} did not run beside")
        time.sleep(0.02)


def fails(place: int, tell: Tell) -> None:
    raise OutputError("the disk is full")


def breaks(place: int, tell: Tell) -> None:
    raise KeyError("an error nobody thought of")


def dies(place: int, tell: Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def marks(path: Path, place: int, tell: Tell) -> None:
    path.write_text(f"{place} {os.getpid()}")


def hurries(path: Path, place: int, tell: Tell) -> None:
    path.touch()
    time.sleep(600)


def test_two_run_at_the_same_time_on_cores_of_their_own(tmp_path: Path) -> None:
    jobs = [
        Job(name, partial(meets, tmp_path, name, other), tmp_path / f"{name}.log") for name, other in (("a", "b"), ("b", "a"))
    ]
    told: list[tuple[str, float]] = []
    assert run_side_by_side(jobs, at_once=2, tell=lambda doing, share, **_: told.append((doing, share))) == {}
    (place_a, cores_a), (place_b, cores_b) = ((tmp_path / name).read_text().split(" ", 1) for name in ("a", "b"))
    assert {place_a, place_b} == {"0", "1"}
    if hasattr(os, "sched_getaffinity") and available_cores() > 1:
        assert not set(cores_a.split(",")) & set(cores_b.split(","))
    assert told[-1] == ("training is over", 1.0)
    assert [share for _, share in told] == sorted(share for _, share in told)


def test_one_that_fails_or_dies_costs_only_itself(tmp_path: Path) -> None:
    works = {"a": fails, "b": dies, "c": breaks, "d": partial(marks, tmp_path / "d"), "e": partial(marks, tmp_path / "e")}
    jobs = [Job(name, work, tmp_path / "logs" / f"{name}.log") for name, work in works.items()]
    failures = run_side_by_side(jobs, at_once=2, tell=lambda *_, **__: None)
    logs = tmp_path / "logs"
    assert failures == {
        "a": f"the disk is full; see {logs / 'a.log'}",
        "b": f"its process died of SIGKILL (often the system's memory guard); see {logs / 'b.log'}",
        "c": f"its process ended with exit code 1; see {logs / 'c.log'}",
    }
    assert "an error nobody thought of" in (logs / "c.log").read_text()
    processes = {(tmp_path / name).read_text().split()[1] for name in ("d", "e")}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes


def test_what_ends_the_parent_ends_the_rest(tmp_path: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    jobs = [
        Job("a", partial(marks, tmp_path / "a"), tmp_path / "a.log"),
        Job("b", partial(hurries, tmp_path / "b"), tmp_path / "b.log"),
    ]
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(jobs, at_once=2, tell=interrupt)
    assert not multiprocessing.active_children()
