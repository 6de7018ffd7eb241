from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.dicom import affine_of_slices
from segsuite.volumes.grid import network_grid, resample
from segsuite.volumes.reading import read_grid, read_volume
from segsuite.volumes.volume import Volume
from tests.slices import enhanced_data, expected_volume, save, save_series, slice_data

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


class TestMadeUpSeries:
    def test_slices_lie_where_they_say(self, tmp_path: Path) -> None:
        found = read_volume(save_series(tmp_path))
        np.testing.assert_array_equal(found.array[0], expected_volume())
        expected = [[-0.5, 0, 0, -5], [0, -0.6, 0, -7], [0, 0, 3, 0], [0, 0, 0, 1]]
        np.testing.assert_allclose(found.grid.affine, expected)
        for again in (read_grid(tmp_path), read_volume(tmp_path / "IM0002").grid):
            assert again.shape == found.grid.shape
            np.testing.assert_array_equal(again.affine, found.grid.affine)

    def test_a_class_that_has_no_spacing_by_the_standard_has_that_of_its_files(self, tmp_path: Path) -> None:
        for number, kind in enumerate(["1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.1", "1.2.826.0.1.3680043.9.9999"]):
            found = read_volume(save_series(tmp_path / str(number), SOPClassUID=kind))
            assert found.spacing_mm == pytest.approx((0.5, 0.6, 3.0))

    def test_each_slice_has_its_own_slope(self, tmp_path: Path) -> None:
        for number in range(4):
            save(slice_data(number, RescaleSlope=number + 1, RescaleIntercept=-number), tmp_path / str(number))
        expected = expected_volume() * np.arange(1, 5) - np.arange(4)
        np.testing.assert_allclose(read_volume(tmp_path).array[0], expected)

    def test_an_enhanced_file_is_the_volume_of_its_frames(self, tmp_path: Path) -> None:
        save(enhanced_data(4, slopes=[1.0, 2.0, 1.0, 0.5]), tmp_path / "E")
        found = read_volume(tmp_path)
        expected = (expected_volume() * [1, 2, 1, 0.5] - [0, 1, 2, 3])[..., ::-1]
        np.testing.assert_allclose(found.array[0], expected)
        np.testing.assert_allclose(found.grid.affine[:3, 3], [-5, -7, 0])
        assert found.spacing_mm == pytest.approx((0.5, 0.6, 3.0))
        np.testing.assert_array_equal(read_grid(tmp_path / "E").affine, found.grid.affine)

    def test_one_slice_is_as_thick_as_it_says(self, tmp_path: Path) -> None:
        found = read_volume(save_series(tmp_path / "s", n_slices=1))
        assert (found.grid.shape, found.spacing_mm) == ((14, 10, 1), pytest.approx((0.5, 0.6, 3.0)))
        assert found.notes == ("one slice: its thickness, 3 mm, is taken as the distance of slices",)
        with pytest.raises(VolumeError, match="one with a SliceThickness, got one without"):
            read_volume(save_series(tmp_path / "t", n_slices=1, SliceThickness=None))

    def test_directions_of_few_digits_do_not_change_the_spacing(self, tmp_path: Path) -> None:
        found = read_volume(save_series(tmp_path, ImageOrientationPatient=[0.995, 0, 0, 0, 1.004, 0]))
        assert found.spacing_mm == pytest.approx((0.5, 0.6, 3.0))

    def test_slices_further_apart_than_they_say_are_noted(self, tmp_path: Path) -> None:
        (note,) = read_volume(save_series(tmp_path, SpacingBetweenSlices=1.5)).notes
        assert note == "slices lie 3 mm apart, SpacingBetweenSlices says 1.5 mm: are some missing?"

    def test_spacings_that_differ_are_refused_by_name(self, tmp_path: Path) -> None:
        save_series(tmp_path)
        save(slice_data(2, PixelSpacing=[0.6, 0.7]), tmp_path / "IM0002")
        with pytest.raises(VolumeError, match=r"one PixelSpacing, got 0.6 x 0.7 mm in IM0002 where others have 0.6 x 0.5"):
            read_volume(tmp_path)

    def test_sizes_that_differ_are_refused_by_name(self, tmp_path: Path) -> None:
        save_series(tmp_path)
        save(slice_data(2, Rows=7, Columns=20), tmp_path / "IM0002")
        with pytest.raises(VolumeError, match=r"one size, got 14 x 10 \(3\), 20 x 7 \(1\), for example IM0002"):
            read_volume(tmp_path)

    @pytest.mark.parametrize("number", [1, 4])
    def test_a_truncated_first_or_last_slice_fails_the_series(self, tmp_path: Path, number: int) -> None:
        path = save_series(tmp_path) / f"IM{number:04d}"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(VolumeError, match=rf"{path.name} must hold 280 bytes of pixels .* got 180"):
            read_volume(tmp_path)

    def test_two_slices_at_one_position_are_named(self, tmp_path: Path) -> None:
        save_series(tmp_path)
        save(slice_data(2, SOPInstanceUID="1.2.3"), tmp_path / "IM0009")
        with pytest.raises(VolumeError, match="got 1 doubled of 5 .*for example IM0002 and IM0009"):
            read_volume(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "enhanced", "compressed"])
def test_whatever_is_damaged_ends_as_a_volume_or_a_sentence(tmp_path: Path, kind: str) -> None:
    if kind == "enhanced":
        save(enhanced_data(4, slopes=[1.0, 2.0, 1.0, 0.5]), tmp_path / "E")
    for number in range(0 if kind == "enhanced" else 4):
        data = slice_data(number)
        if kind == "compressed":
            data.compress(RLELossless, encoding_plugin="pydicom")
        save(data, tmp_path / f"IM{number}")
    whole = {path: path.read_bytes() for path in sorted(tmp_path.iterdir())}
    draw = np.random.default_rng(7)
    ends = {"volume": 0, "sentence": 0}
    for _ in range(15 if kind == "compressed" else 60):
        path = list(whole)[draw.integers(len(whole))]
        content = bytearray(whole[path])
        at, n_bytes = int(draw.integers(len(content))), int(draw.integers(1, 20))
        twice = bytes(content[at : at + n_bytes]) * 2
        content[at : at + n_bytes] = (b"", bytes(n_bytes), draw.bytes(n_bytes), twice)[int(draw.integers(4))]
        path.write_bytes(content[:at] if draw.random() < 0.2 else content)
        try:
            read_volume(tmp_path)
            read_grid(tmp_path)
            ends["volume"] += 1
        except (VolumeError, GridError):
            ends["sentence"] += 1
        path.write_bytes(whole[path])
    assert ends["sentence"] > 2


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
