from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest

from segsuite.data.scan_profile import common_profile, profile_distance, profile_of
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

ARRAY = np.random.default_rng(0).gamma(2.0, 50.0, (70, 71, 72)).astype(np.float32)
AFFINE = np.diag([-0.5, 0.75, 3.0, 1.0])


def volume(array: np.ndarray, affine: np.ndarray) -> Volume:
    return Volume(array[None], Grid(array.shape, affine))


def test_numbers_are_along_the_axes_of_the_body_in_any_storage_order() -> None:
    image = nib.Nifti1Image(ARRAY, AFFINE)
    found = []
    for axes, flips in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        turned = image.as_reoriented(np.column_stack([axes, flips]))
        found.append(profile_of(volume(np.asarray(turned.dataobj), turned.affine)))
    assert all(profile == found[0] for profile in found)
    assert found[0]["spacing_mm"] == [0.5, 0.75, 3.0]
    assert found[0]["extent_mm"] == [35.0, 53.25, 216.0]
    assert found[0]["plane"] == "axial"
    np.testing.assert_allclose(found[0]["quantiles"][0], np.percentile(ARRAY, [0.5, 5, 25, 50, 75, 95, 99.5]), rtol=0.05)


@pytest.mark.parametrize(
    ("spacing", "plane"), [((3.0, 1.0, 1.0), "sagittal"), ((1.0, 4.0, 1.0), "coronal"), ((1.0, 1.0, 1.5), "")]
)
def test_the_plane_is_told_by_the_thick_axis(spacing: tuple[float, ...], plane: str) -> None:
    assert profile_of(volume(ARRAY[:9, :9, :9], np.diag([*spacing, 1.0])))["plane"] == plane


def test_a_set_is_its_limits_and_its_mean_histogram_whatever_the_scale() -> None:
    profiles = [profile_of(volume(ARRAY * scale, np.diag([mm, mm, 3.0, 1.0]))) for scale, mm in ((1, 0.5), (7, 0.8))]
    common = common_profile(profiles)
    assert common["spacing_mm"] == [[0.5, 0.5, 3.0], [0.8, 0.8, 3.0]]
    assert common["planes"] == ["axial"]
    assert common["lowest"] == [[profiles[0]["quantiles"][0][0], profiles[1]["quantiles"][0][0]]]
    assert common["spread"][0] < 1e-4
    assert profile_distance(profiles[1]["quantiles"][0], common["histogram"][0]) < 1e-4
    other = profile_of(volume(-ARRAY, AFFINE))["quantiles"][0]
    assert profile_distance(other, common["histogram"][0]) > 0.15


def test_a_constant_channel_has_a_profile_too() -> None:
    profile = profile_of(volume(np.full((4, 4, 4), 3.0, np.float32), np.eye(4)))
    assert profile["quantiles"] == [[3.0] * 7]
    assert common_profile([profile])["histogram"] == [[0.0] * 7]
