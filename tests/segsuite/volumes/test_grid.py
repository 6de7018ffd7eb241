from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segsuite.engines.doctor import all_orientations, asymmetric_object
from segsuite.errors import GridError
from segsuite.volumes.grid import Grid, axis_maps, back_to_grid, network_grid, require_same_grid, resample

TILT = np.radians(16.0)
OBLIQUE = np.array(
    [[np.cos(TILT), -np.sin(TILT), 0, 12], [np.sin(TILT), np.cos(TILT), 0, -40], [0, 0, 1, 7], [0, 0, 0, 1]]
) @ np.array([[1, 0, 0, 0], [0, np.cos(TILT), -np.sin(TILT), 0], [0, np.sin(TILT), np.cos(TILT), 0], [0, 0, 0, 1]])
SPACING = np.diag([0.7, 1.3, 3.1, 1.0])


@pytest.mark.parametrize("affine", [np.eye(4), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("orientation", all_orientations(), ids=lambda matrix: Grid((2, 2, 2), matrix).orientation)
class TestEveryOrientation:
    def test_labels_come_back_exactly(self, orientation: np.ndarray, affine: np.ndarray) -> None:
        labels = asymmetric_object()
        native = Grid(labels.shape, affine @ orientation @ SPACING)
        network = network_grid(native, spacing_mm=None)
        assert network.orientation == "RAS"
        moved = resample(labels, native, network, interpolation="label")
        assert np.array_equal(back_to_grid(moved, network, native), labels)

    def test_finer_network_grid_comes_back_exactly(self, orientation: np.ndarray, affine: np.ndarray) -> None:
        """Blocky labels on a grid three times finer: the way back finds each native voxel's own label."""
        labels = asymmetric_object()
        native = Grid(labels.shape, affine @ orientation @ SPACING)
        canonical = network_grid(native, spacing_mm=None)
        network = network_grid(native, spacing_mm=tuple(mm / 3 for mm in canonical.spacing_mm))
        moved = resample(labels, native, network, interpolation="nearest")
        assert np.array_equal(back_to_grid(moved, network, native), labels)

    def test_structure_stays_where_it_is_in_space(self, orientation: np.ndarray, affine: np.ndarray) -> None:
        labels = asymmetric_object()
        native = Grid(labels.shape, affine @ orientation @ SPACING)
        network = network_grid(native, spacing_mm=(0.5, 0.5, 0.5))
        moved = resample(labels, native, network, interpolation="label")
        for label in (1, 2):
            before = native.affine @ np.append(np.argwhere(labels == label).mean(axis=0), 1)
            after = network.affine @ np.append(np.argwhere(moved == label).mean(axis=0), 1)
            assert np.linalg.norm(before - after) < 0.5


def test_network_grid_keeps_centre_and_field_of_view() -> None:
    native = Grid((41, 30, 17), OBLIQUE @ SPACING)
    network = network_grid(native, spacing_mm=(1.0, 1.0, 2.0))
    centres = [grid.affine @ np.append((np.asarray(grid.shape) - 1) / 2, 1) for grid in (native, network)]
    np.testing.assert_allclose(centres[0], centres[1], atol=1e-9)
    extents = [np.sort(np.asarray(grid.shape) * grid.spacing_mm) for grid in (native, network)]
    assert np.abs(extents[0] - extents[1]).max() <= 1.0


def test_a_border_of_1_and_3_makes_no_2() -> None:
    labels = np.where(np.arange(12)[:, None, None] < 6, 1, 3).astype(np.uint8) * np.ones((12, 5, 5), dtype=np.uint8)
    native = Grid(labels.shape, np.diag([1.0, 1.0, 1.0, 1.0]))
    for spacing in ((0.7, 0.7, 0.7), (1.7, 1.3, 1.1)):
        network = network_grid(native, spacing_mm=spacing)
        assert set(np.unique(resample(labels, native, network, interpolation="label"))) == {1, 3}


def test_linear_agrees_with_an_independent_interpolation() -> None:
    image = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    native = Grid(image.shape, OBLIQUE @ SPACING)
    network = network_grid(native, spacing_mm=(0.5, 0.9, 1.7))
    relation = np.linalg.inv(native.affine) @ network.affine
    points = np.stack(np.meshgrid(*(np.arange(n) for n in network.shape), indexing="ij"), axis=-1)
    coordinates = points @ relation[:3, :3].T + relation[:3, 3]
    expected = ndimage.map_coordinates(image, np.moveaxis(coordinates, -1, 0), order=1, mode="nearest")
    np.testing.assert_allclose(resample(image, native, network, interpolation="linear"), expected, atol=1e-5)


def test_shrinking_averages_instead_of_dropping_voxels() -> None:
    """A checkerboard has no mean left but its average when voxels become four times larger."""
    image = (np.indices((32, 32, 32)).sum(axis=0) % 2).astype(np.float32)
    native = Grid(image.shape, np.eye(4))
    small = resample(image, native, network_grid(native, spacing_mm=(4.0, 4.0, 4.0)), interpolation="linear")
    np.testing.assert_allclose(small[1:-1, 1:-1, 1:-1], 0.5, atol=0.01)


def test_turned_grids_go_through_an_affine_transform() -> None:
    image = np.zeros((21, 21, 21), dtype=np.float32)
    image[8:13, 8:13, 8:13] = 1
    about_centre = OBLIQUE.copy()
    about_centre[:3, 3] = 10 - OBLIQUE[:3, :3] @ np.full(3, 10.0)
    native, turned = Grid(image.shape, np.eye(4)), Grid(image.shape, about_centre)
    assert axis_maps(native, turned) is None
    there = resample(image, native, turned, interpolation="linear", outside=-1)
    centre = turned.affine @ np.append(np.argwhere(there > 0.5).mean(axis=0), 1)
    np.testing.assert_allclose(centre[:3], [10, 10, 10], atol=0.3)


def test_outside_is_filled() -> None:
    image = np.ones((4, 4, 4), dtype=np.float32)
    shifted = np.eye(4)
    shifted[0, 3] = 2
    moved = resample(image, Grid((4, 4, 4), np.eye(4)), Grid((4, 4, 4), shifted), interpolation="linear", outside=-7)
    assert (moved[:2] == 1).all()
    assert (moved[2:] == -7).all()


class TestRefusals:
    def test_zero_spacing(self) -> None:
        with pytest.raises(GridError, match=r"Voxel size must be above zero.*got spacing \(0.0, 1.0, 1.0\) mm"):
            Grid((2, 2, 2), np.diag([0.0, 1.0, 1.0, 1.0]))

    def test_another_shape(self) -> None:
        with pytest.raises(GridError, match=r"a and b must lie on one grid, got shapes \(2, 2, 2\) and \(3, 2, 2\)"):
            require_same_grid(Grid((2, 2, 2), np.eye(4)), Grid((3, 2, 2), np.eye(4)), names=("a", "b"))

    def test_far_corner_beyond_tolerance(self) -> None:
        near, far = np.eye(4), np.eye(4)
        near[0, 0], far[0, 0] = 1.0005, 1.002
        grid = Grid((101, 5, 5), np.eye(4))
        require_same_grid(grid, Grid((101, 5, 5), near), names=("a", "b"))
        with pytest.raises(GridError, match=r"got corners 0.20 voxels apart"):
            require_same_grid(grid, Grid((101, 5, 5), far), names=("a", "b"))

    def test_array_of_another_shape(self) -> None:
        grid = Grid((2, 2, 2), np.eye(4))
        with pytest.raises(GridError, match=r"must have its grid's shape \(2, 2, 2\)"):
            resample(np.zeros((3, 2, 2)), grid, grid, interpolation="linear")
