from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines import case_sizes
from segsuite.engines.case_sizes import n_voxels, n_voxels_if_many, require_ordinary_files
from segsuite.engines.inputs import InputCase
from segsuite.errors import VolumeError


def case(*images: Path) -> InputCase:
    return InputCase("a", images, "a.nii.gz")


def test_all_channels_count(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    images = [write_nifti(tmp_path / f"{n}.nii.gz", np.zeros((4, 5, 6), np.uint8)) for n in range(2)]
    assert n_voxels(case(*images)) == 240


def test_a_folder_of_slices_counts_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(bytes(100))
    (tmp_path / "2.dcm").write_bytes(bytes(60))
    assert n_voxels_if_many(case(tmp_path)) == 80


def test_a_small_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    assert n_voxels_if_many(case(tmp_path / "a.nii.gz")) == 0
    monkeypatch.setattr(case_sizes, "MOST_VOXELS_BESIDE", 0)
    with pytest.raises(VolumeError):
        n_voxels_if_many(case(tmp_path / "a.nii.gz"))


def test_what_never_ends_is_refused_and_what_is_not_there_is_left_to_reading(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    os.mkfifo(tmp_path / "series" / "1.dcm")
    with pytest.raises(VolumeError, match=r"1.dcm must be an ordinary file, got a pipe. Leave it out"):
        require_ordinary_files(case(tmp_path / "series"))
    with pytest.raises(VolumeError, match="got a device"):
        require_ordinary_files(case(Path("/dev/zero")))
    require_ordinary_files(case(tmp_path / "nothing.nii.gz", tmp_path))
