"""A training of any pipeline that was asked to end and killed, in each stage, ends with the weights of one that was not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipelines.prostate_zones.module import ZoneModule
from segsuite.engines.budget import TrainingClock
from segsuite.pipeline import Runtime, find_pipelines
from segsuite.verbs.runs import train
from tests.conftest import TINY
from tests.pipelines.cohort_contrast.conftest import QUICK
from tests.pipelines.fewshot.conftest import TINY as FEWSHOT
from tests.pipelines.prostate_zones.conftest import TINY as ZONES

pytestmark = pytest.mark.slow
OVERRIDES = {"supervised": TINY, "prostate_zones": ZONES, "fewshot": FEWSHOT, "cohort_contrast": QUICK}
EVERYWHERE = ["training.max_minutes=null", "training.max_steps=9", "training.steps_per_epoch=3", "data.fold=0"]
LOADERS = [0, 1, 2] if os.environ.get("SEGSUITE_FULL") else [2]
ASKED, KILLED = 2, (5, 7)
"""Steps: within the first epoch; within the second and the third, which is the second stage where there is one."""


@pytest.fixture(autouse=True)
def _second_stage_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZoneModule, "lost_zones", lambda self: [])


@contextmanager
def ending_at(step: int, how: BaseException | None) -> Iterator[None]:
    """The step is the last one: by an error, or by a SIGTERM."""

    def end(clock: TrainingClock, trainer: Any, *_: Any) -> None:
        if trainer.global_step == step and how is None:
            os.kill(os.getpid(), signal.SIGTERM)
        elif trainer.global_step == step and how is not None:
            raise how

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingClock, "on_train_batch_end", end)
        yield


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in OVERRIDES}


@pytest.mark.parametrize("workers", LOADERS)
@pytest.mark.parametrize("name", find_pipelines())
def test_ended_in_each_epoch_it_has_the_weights_of_an_unbroken_training(
    name: str, workers: int, unbroken: dict[str, Path], tmp_path: Path
) -> None:
    overrides = [*OVERRIDES[name], *EVERYWHERE, f"data.cache_dir={unbroken[name] / 'cache'}"]
    here = Runtime(device="cpu", workers=workers)
    ends = [(ASKED, None), *((step, OSError("killed")) for step in KILLED)]
    for step, how in ends:
        with ending_at(step, how), pytest.raises(KeyboardInterrupt if how is None else OSError):
            train(f"{name}/phantom", overrides=overrides, out=tmp_path / "ended", runtime=here)
    runs = [
        train(f"{name}/phantom", overrides=overrides, out=folder, runtime=Runtime(device="cpu", workers=0))
        for folder in (unbroken[name] / "run", tmp_path / "ended")
    ]
    whole, ended = (load_file(run.model / "model.safetensors") for run in runs)
    assert whole.keys() == ended.keys()
    assert [key for key in whole if not torch.equal(whole[key], ended[key])] == []
