from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from segsuite.volumes.channel_count import channels_in_file


@pytest.mark.parametrize(
    ("shape", "n"), [((4, 5, 6), 1), ((4, 5, 6, 1), 1), ((4, 5, 6, 3), 3), ((4, 5, 6, 1, 2), 2), ((4, 5), 1)]
)
def test_channels_of_nifti_files(write_nifti: Callable[..., Path], tmp_path: Path, shape: tuple[int, ...], n: int) -> None:
    assert channels_in_file(write_nifti(tmp_path / "a.nii.gz", np.zeros(shape, np.int16))) == n


def test_channels_of_other_formats(tmp_path: Path) -> None:
    for name, image in {
        "plain.nrrd": sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16)),
        "vector.mha": sitk.GetImageFromArray(np.zeros((3, 4, 5, 2), np.int16), isVector=True),
        "time.nrrd": sitk.GetImageFromArray(np.zeros((6, 3, 4, 5), np.int16), isVector=False),
    }.items():
        sitk.WriteImage(image, str(tmp_path / name))
    assert [channels_in_file(tmp_path / name) for name in ("plain.nrrd", "vector.mha", "time.nrrd")] == [1, 2, 6]


def test_what_cannot_be_read_counts_as_one_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cut.nii.gz").write_bytes(b"\x1f\x8b\x08")
    os.mkfifo(tmp_path / "pipe.nii")
    assert [channels_in_file(tmp_path / name) for name in ("cut.nii.gz", "pipe.nii", "none.nii", "none.mha")] == [1, 1, 1, 1]
