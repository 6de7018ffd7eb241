from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.dicom import affine_of_slices
from segsuite.volumes.grid import network_grid, resample
from segsuite.volumes.reading import read_volume
from segsuite.volumes.volume import Volume

AXIAL = np.array([1.0, 0, 0, 0, 1, 0])


def stack(heights: list[float], *, tilt: float = 0.0) -> np.ndarray:
    return np.array([[5.0, 7.0 + tilt * z, z] for z in heights])


def corners_mm(volume: Volume) -> np.ndarray:
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(volume.grid.shape) - 1)
    return np.round(np.column_stack([corners, np.ones(8)]) @ volume.grid.affine.T, 2)


def test_slices_are_ordered_along_their_normal() -> None:
    order, affine = affine_of_slices(stack([6, 0, 3]), np.tile(AXIAL, (3, 1)), (0.5, 0.6), where="s")
    assert order == [1, 2, 0]
    # LPS to RAS: x and y change sign
    np.testing.assert_allclose(affine, [[-0.5, 0, 0, -5], [0, -0.6, 0, -7], [0, 0, 3, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("positions", "orientations", "message"),
    [
        (stack([0, 3, 9, 12]), np.tile(AXIAL, (4, 1)), r"evenly spaced slices, got a gap of 6.00 mm after slice 2 of 4"),
        (stack([0, 0, 3, 3]), np.tile(AXIAL, (4, 1)), r"one slice per position, got 2 doubled"),
        (stack([0, 3, 6], tilt=0.2), np.tile(AXIAL, (3, 1)), r"gantry tilt of 11.3 degrees"),
        (stack([0, 3]), np.array([AXIAL, [0, 1, 0, 0, 0, -1]]), r"one orientation, got 2 \(a localiser\?\)"),
        (stack([0]), AXIAL[None], r"at least two slices, got 1"),
    ],
    ids=["missing slice", "doubled", "tilt", "mixed orientation", "single"],
)
def test_series_that_are_no_volume_are_refused(positions: np.ndarray, orientations: np.ndarray, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        affine_of_slices(positions, orientations, (0.5, 0.5), where="series 1.2.3")


@pytest.mark.data
class TestRealSeries:
    def test_equals_its_nifti(self, real_data: Path) -> None:
        case = real_data / "prostate_t2" / "ProstateX-0218"
        series, nifti = read_volume(case / "t2w_dicom"), read_volume(case / "t2w.nii.gz")
        assert sorted(series.grid.shape) == sorted(nifti.grid.shape)
        corners = [sorted(corners_mm(volume).tolist()) for volume in (series, nifti)]
        np.testing.assert_allclose(corners[0], corners[1], atol=0.05)
        canonical = [
            resample(v.array[0], v.grid, network_grid(v.grid, spacing_mm=None), interpolation="linear") for v in (series, nifti)
        ]
        np.testing.assert_array_equal(canonical[0], canonical[1])

    def test_missing_slice_is_refused(self, real_data: Path, tmp_path: Path) -> None:
        source = real_data / "prostate_t2" / "ProstateX-0218" / "t2w_dicom"
        files = sorted(source.iterdir())
        for file in files[:5] + files[6:]:
            shutil.copy(file, tmp_path / file.name)
        with pytest.raises(VolumeError, match="evenly spaced slices"):
            read_volume(tmp_path)

    def test_unknown_series_uid(self, real_data: Path) -> None:
        with pytest.raises(VolumeError, match=r"must hold series 9.9, got: 1\."):
            read_volume(real_data / "prostate_t2" / "ProstateX-0218" / "t2w_dicom", series_uid="9.9")
