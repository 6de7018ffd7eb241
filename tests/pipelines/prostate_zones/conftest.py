"""A zone model trained for a few steps through both stages."""

from __future__ import annotations

import pytest

from segsuite.engines.run_folder import RunFolder
from segsuite.pipeline import Runtime

TINY = [
    "data.phantom.n_cases=6",
    "data.phantom.n_folds=3",
    "data.phantom.shape=[32,32,12]",
    "data.phantom.spacing_mm=[3.0,3.0,6.0]",
    "data.phantom.unlabelled_share=0.2",
    "image.spacing_mm=[3.0,3.0,6.0]",
    "image.patch_size=[32,32,8]",
    "network.channels=[4,8,16]",
    "network.strides=[[2,2,1],[2,2,2]]",
    "network.auxiliary={sdm: 0.5, gland: 0.25, recon: 0.1, presence: 0.1}",
    "training.max_minutes=null",
    "training.steps_per_epoch=4",
    "training.max_steps=12",
    "training.epochs_per_validation=2",
    "training.validation_cases=1",
    "training.batch_size=2",
    "training.precision=float32",
    "co_training.share=0.5",
    "co_training.unlabelled_share=0.5",
]


@pytest.fixture(scope="session")
def tiny_zones() -> list[str]:
    return list(TINY)


@pytest.fixture(scope="session")
def zone_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder trained for twelve steps; do not change it."""
    from segsuite.verbs.runs import train

    out = tmp_path_factory.mktemp("zones") / "run"
    return train("prostate_zones/phantom", overrides=TINY, out=out, runtime=Runtime(device="cpu", workers=0))
