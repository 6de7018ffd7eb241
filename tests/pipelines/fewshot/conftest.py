"""A base model of a few steps with two structures registered on top."""

from __future__ import annotations

import pytest

from segsuite.engines.run_folder import RunFolder
from segsuite.pipeline import Runtime

TINY = [
    "data.phantom.n_cases=6",
    "data.phantom.n_folds=3",
    "data.phantom.shape=[32,32,12]",
    "data.phantom.spacing_mm=[3.0,3.0,6.0]",
    "plan.base_channels=4",
    "plan.patch_size=[32,32,8]",
    "features.regions=6",
    "features.channels=8",
    "training.max_minutes=null",
    "training.steps_per_epoch=4",
    "training.max_steps=8",
    "training.validation_cases=1",
    "training.precision=float32",
    "register_novel.shots=2",
]


@pytest.fixture(scope="session")
def tiny_fewshot() -> list[str]:
    return list(TINY)


@pytest.fixture(scope="session")
def fewshot_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder: base_model, session_1, model; do not change it."""
    from segsuite.verbs.runs import train

    out = tmp_path_factory.mktemp("fewshot") / "run"
    return train("fewshot/phantom", overrides=TINY, out=out, runtime=Runtime(device="cpu", workers=0))
