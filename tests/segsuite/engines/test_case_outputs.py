from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.case_outputs import CaseOutputs
from segsuite.engines.segmentation import Segmentation
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume


@pytest.fixture
def volume() -> Volume:
    return Volume(np.zeros((1, 3, 4, 5), np.float32), Grid((3, 4, 5), np.eye(4)))


def test_the_mask_comes_last(volume: Volume, tmp_path: Path) -> None:
    labels, channel = np.ones((3, 4, 5), np.uint8), np.zeros((3, 4, 5), np.float32)
    found = Segmentation(labels, np.stack([channel, channel]), {"doubt": channel}, {"n": 1}, class_labels=(0, 2))
    outputs = CaseOutputs(tmp_path / "p1" / "a.nii.gz", found, volume)
    names = ["a_map_doubt.nii.gz", "a_probability_0.nii.gz", "a_probability_2.nii.gz", "a_report.json", "a.nii.gz"]
    assert [path.name for path in outputs.files] == names
    assert outputs.main == tmp_path / "p1" / "a.nii.gz"
    assert outputs.beside == list(outputs.files)[:-1]
    outputs.write()
    assert {path.name for path in (tmp_path / "p1").iterdir()} == set(names)


def test_without_a_mask_the_report_says_that_the_case_is_done(volume: Volume, tmp_path: Path) -> None:
    outputs = CaseOutputs(tmp_path / "a.nii.gz", Segmentation(None, report={"n": 1}), volume)
    assert outputs.main == tmp_path / "a_report.json"
    assert outputs.beside == []
