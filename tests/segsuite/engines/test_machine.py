"""Limits of containers and job schedulers, as both versions of control groups show them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from segsuite.engines import machine
from segsuite.engines.machine import ControlGroups, available_cores, available_memory, shared_memory


def groups(folder: Path, own: str, files: dict[str, str]) -> ControlGroups:
    """As a kernel would show them."""
    (folder / "own").write_text(own)
    (folder / "groups").mkdir()
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ControlGroups(folder / "groups", folder / "own")


def test_container_of_version_2(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        "0::/\n",
        {
            "cpu.max": "150000 100000\n",
            "memory.max": "1000000\n",
            "memory.current": "900000\n",
            "memory.stat": "anon 500000\ninactive_file 300000\nactive_file 100000\n",
        },
    )
    assert found.cores() == 1.5
    assert found.memory_left() == 400_000


def test_job_of_a_scheduler_is_limited_by_the_groups_around_it(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        "0::/slurm/job_7/step_0\n",
        {
            "slurm/job_7/step_0/cpu.max": "max 100000\n",
            "slurm/job_7/step_0/memory.max": "max\n",
            "slurm/job_7/step_0/memory.current": "10\n",
            "slurm/job_7/cpu.max": "400000 100000\n",
            "slurm/job_7/memory.max": "5000\n",
            "slurm/job_7/memory.current": "2000\n",
            "slurm/cpu.max": "800000 100000\n",
            "slurm/memory.max": "9000\n",
            "slurm/memory.current": "8000\n",
        },
    )
    assert found.cores() == 4.0
    assert found.memory_left() == 1000, "others took most of what their common group has"


def test_version_1_has_a_tree_per_controller(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        "9:name=systemd:/\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n",
        {
            "memory/docker/abc/memory.limit_in_bytes": "4000\n",
            "memory/docker/abc/memory.usage_in_bytes": "3500\n",
            "memory/docker/abc/memory.stat": "cache 1500\ntotal_inactive_file 1000\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": "10\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "200000\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert found.cores() == 2.0
    assert found.memory_left() == 1500


def test_container_of_version_1_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        "4:memory:/docker/not/shown/here\n",
        {"memory/memory.limit_in_bytes": "4000\n", "memory/memory.usage_in_bytes": "5000\n"},
    )
    assert found.memory_left() == 0
    assert found.cores() is None


@pytest.mark.parametrize("own", ["", "0::/\n", "4:memory:/a\n"])
def test_without_limits_nothing_is_limited(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = groups(tmp_path, own, {"cpu.max": "max 100000\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert (found.cores(), found.memory_left()) == (None, None)
    assert ControlGroups(tmp_path / "no", tmp_path / "no").memory_left() is None
    monkeypatch.setattr(machine, "HERE", found)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=7))
    assert available_memory() == 7


@pytest.mark.parametrize(("allowed", "cores"), [(None, 3), (64.0, 3), (2.9, 2), (0.5, 1)])
def test_cores_that_may_be_used(allowed: float | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "HERE", SimpleNamespace(cores=lambda: allowed))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert available_cores() == cores
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert available_cores() == cores


def test_libraries_are_told_only_where_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in machine.THREADS_OF_LIBRARIES:
        monkeypatch.setenv(variable, "")  # so that it is as before afterwards
        monkeypatch.delenv(variable)
    monkeypatch.setattr(machine, "HERE", SimpleNamespace(cores=lambda: None))
    machine.limit_threads()
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setattr(machine, "HERE", SimpleNamespace(cores=lambda: 1.5))
    machine.limit_threads()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "7")


def test_memory_that_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=500))
    for left, expected in ((100, 100), (900, 500), (None, 500)):
        monkeypatch.setattr(machine, "HERE", SimpleNamespace(memory_left=lambda left=left: left))
        assert available_memory() == expected


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path)
    assert shared_memory() == pytest.approx(machine.shutil.disk_usage(tmp_path).free, rel=0.1)
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path / "none")
    assert shared_memory() is None


def test_this_machine_answers() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    assert 0 < available_memory() <= psutil.virtual_memory().total
