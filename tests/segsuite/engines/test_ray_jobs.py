"""Jobs as tasks of a local cluster; one whose process is killed is done again."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from segsuite.engines.processes import Tell
from segsuite.engines.ray_options import RayOptions
from segsuite.engines.side_by_side import Job
from segsuite.errors import OutputError, SettingsError

ray = pytest.importorskip("ray", reason="needs the extra: pip install 'segsuite[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def dies_once(folder: Path, place: int, tell: Tell) -> None:
    n_before = len(list(folder.glob("try_*")))
    (folder / f"try_{n_before}").write_text(f"{os.getpid()}")
    if n_before == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def fails(place: int, tell: Tell) -> None:
    raise OutputError("the disk is full")


def breaks(place: int, tell: Tell) -> None:
    raise KeyError("an error nobody thought of")


def test_one_that_dies_is_done_again_and_one_that_fails_is_named(tmp_path: Path) -> None:
    from segsuite.engines.ray_jobs import run_on_ray

    works = {"a": partial(dies_once, tmp_path), "b": fails, "c": breaks}
    told: list[float] = []
    failures = run_on_ray(
        [Job(name, work, tmp_path / "unused.log") for name, work in works.items()],
        cluster=RayOptions(workers=2),
        tell=lambda doing, share, **_: told.append(share),
    )
    assert failures == {"b": "the disk is full", "c": "KeyError: 'an error nobody thought of'"}
    tries = {path.read_text() for path in tmp_path.glob("try_*")}
    assert len(tries) == 2
    assert told[0] == 0.0
    assert told == sorted(told)


def test_a_cluster_without_room_is_refused(tmp_path: Path) -> None:
    from segsuite.engines.ray_jobs import run_on_ray

    with pytest.raises(SettingsError, match="room for a worker of 1 CPUs and 3 GPUs"):
        run_on_ray([Job("a", fails, tmp_path / "log")], cluster=RayOptions(gpus=3), tell=lambda *_, **__: None)
