"""A Ray cluster for all tests of this folder: starting one takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[None]:
    """Two places; workers find the tests' modules as pytest does."""
    ray = pytest.importorskip("ray", reason="needs the extra: pip install 'segsuite[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[3])}},
    )  # fmt: skip
    yield
    ray.shutdown()
