"""Several trainings as tasks on a Ray cluster; one whose node dies goes on elsewhere from its last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from segsuite.engines.processes import Tell
from segsuite.engines.ray_cluster import connected, worker_count
from segsuite.engines.ray_options import RayOptions
from segsuite.engines.side_by_side import Job
from segsuite.errors import InputError

__all__ = ["run_on_ray"]

MOST_RETRIES = 3
"""Of a task whose process or node died."""


def run_on_ray(jobs: Sequence[Job], *, cluster: RayOptions, tell: Tell) -> dict[str, str]:
    """As ``run_side_by_side``, on a cluster whose nodes all see data and run folders under the same paths.

    Args:
        jobs: What is to be done; their logs are those of Ray.
        cluster: What each takes; ``workers`` is how many run at once, 0: all that fit.
        tell: Told how many are over.

    Returns:
        Name of a job to why it failed; the others are done.

    Raises:
        SettingsError: The cluster has no room for a single job.
    """
    failures: dict[str, str] = {}
    with connected(cluster.address):
        at_once = min(worker_count(cluster), len(jobs))
        kind: Any = ray.remote(_work).options(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=MOST_RETRIES)
        waiting = list(jobs)
        running = {kind.remote(job): job for job in waiting[:at_once]}
        del waiting[:at_once]
        while running:
            names = ", ".join(sorted(job.name for job in running.values()))
            tell(f"training {names}", 1 - (len(waiting) + len(running)) / len(jobs))
            ready, _ = ray.wait(list(running))
            for reference in ready:
                job = running.pop(reference)
                try:
                    ray.get(reference)
                except RayTaskError as error:
                    failures[job.name] = str(error.cause) if isinstance(error.cause, InputError) else str(error).splitlines()[-1]
                except RayError as error:
                    failures[job.name] = f"its worker died, {1 + MOST_RETRIES} times ({type(error).__name__})"
                if waiting:
                    following = waiting.pop(0)
                    running[kind.remote(following)] = following
    return failures


def _work(job: Job) -> None:
    """Runs on a node; the devices that it sees are its own."""
    job.work(0, lambda doing, share, **numbers: None)
