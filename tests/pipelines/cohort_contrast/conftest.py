from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.cohort_contrast.phantom import BrainCohort, write_brain_cohort
from pipelines.cohort_contrast.scans import Scans
from segsuite.data.manifest import Manifest

QUICK = (
    "data.brains.n_per_group=8",
    "data.brains.size=16",
    "data.brains.repeat_share=0.5",
    "image.shape=[16,16,16]",
    "network.channels=[8,16]",
    "network.common_dimensions=4",
    "network.salient_dimensions=4",
    "sampling.batch_size=8",
    "training.max_steps=4",
    "training.steps_per_epoch=2",
    "inference.steps=4",
)
"""The phantom config made so small that it trains in a second."""


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A small cohort of phantom heads on disk."""
    folder = tmp_path_factory.mktemp("heads")
    return folder, write_brain_cohort(folder, BrainCohort(6, 3, 16, 0.5, 0.5, 0))


def two_groups(n: int = 12, seed: int = 0, *, sites: bool = False) -> Scans:
    """Half healthy, half diseased pictures; the diseased have a bright corner."""
    draw = np.random.default_rng(seed)
    image = draw.normal(0, 0.1, (n, 1, 16, 16)).astype(np.float32)
    image[n // 2 :, :, :4, :4] += 1
    return Scans(
        image,
        np.arange(n) >= n // 2,
        [f"s{row // 2 if row >= n // 2 else row}" for row in range(n)],
        [f"site{row % 2}" for row in range(n)] if sites else (),
        {"age": np.arange(n, dtype=float), "kind": np.where(np.arange(n) >= n // 2, np.where(np.arange(n) % 2, "a", "b"), "")},
        [f"c{row}" for row in range(n)],
    )
