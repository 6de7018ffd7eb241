"""The worker's process dies and hangs; the next case is segmented all the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segsuite.engines.inputs import InputCase
from segsuite.engines.prediction import BatchOptions
from segsuite.engines.segmentation import Request, Segmentation
from segsuite.errors import ModelError
from segsuite.service.worker import Worker
from segsuite.volumes.volume import Volume
from tests.bright import CallsBright

pytestmark = pytest.mark.slow


class Troubled(CallsBright):
    """Calls bright voxels structure 1; the first voxel decides what goes wrong."""

    def segment(self, volume: Volume, request: Request) -> Segmentation:
        trouble = int(volume.array[0, 0, 0, 0])
        if trouble == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        elif trouble == 2:
            time.sleep(600)
        return super().segment(volume, request)


def load() -> Troubled:
    return Troubled()


def fails_to_load() -> Troubled:
    raise ModelError("the weights are missing")


def dies_while_loading() -> Troubled:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_death_and_standstill_cost_one_case(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    worker = Worker(load, BatchOptions(), time_limit_s=15.0)
    results = []
    for number, trouble in enumerate((0, 1, 0, 2, 0)):
        image = np.random.default_rng(number).random((6, 5, 4)).astype(np.float32)
        image[0, 0, 0] = trouble
        path = write_nifti(tmp_path / f"s{number}.nii.gz", image)
        if trouble == 2:
            worker.time_limit_s = 1.0
        results.append(worker.segment(InputCase("scan", (path,), "mask.nii.gz"), tmp_path / str(number)))
        worker.time_limit_s = 60.0
    worker.close()
    assert [results[n] for n in (0, 2, 4)] == ["done"] * 3
    assert "died" in results[1]
    assert results[3] == "it took longer than 1 s and was ended"
    assert nib.load(tmp_path / "4" / "mask.nii.gz").shape == (6, 5, 4)


def test_a_model_that_cannot_be_opened_is_an_error_at_once() -> None:
    with pytest.raises(ModelError, match="the weights are missing"):
        Worker(fails_to_load, BatchOptions(), time_limit_s=None)
    with pytest.raises(ModelError, match="died of it"):
        Worker(dies_while_loading, BatchOptions(), time_limit_s=None)
