from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.doctor import all_orientations
from segsuite.errors import GridError
from segsuite.volumes.grid import Grid
from segsuite.volumes.orders import (
    Order,
    order_onto,
    order_to_upright,
    reordered,
    upright,
    upright_grid,
    upright_mask,
)
from segsuite.volumes.volume import Volume

NAMES = ("image.nii", "mask.nii")
RAS = Grid((5, 6, 7), np.array([[0.5, 0, 0, -9], [0, 0.7, 0, 4], [0, 0, 3, 2], [0, 0, 0, 1.0]]))
ARRAY = np.arange(2 * 5 * 6 * 7, dtype=np.float32).reshape(2, 5, 6, 7)
LPS = Order((0, 1, 2), (True, True, False))
ASL = Order((1, 2, 0), (False, False, True))


def test_every_order_comes_upright_and_back_with_every_voxel_where_it_was() -> None:
    """A voxel's value says where it lies."""
    corners = np.stack(np.meshgrid(*map(np.arange, RAS.shape), indexing="ij"), axis=-1)
    places = np.moveaxis(corners @ RAS.affine[:3, :3].T + RAS.affine[:3, 3], -1, 0)
    for matrix in all_orientations():
        grid = Grid(RAS.shape, matrix @ RAS.affine)
        volume = Volume(np.tensordot(matrix[:3, :3], places, axes=1), grid)
        scan, order = upright(volume)
        assert scan.array.flags.c_contiguous
        assert (np.diff(scan.array[0], axis=0) > 0).all()
        assert (np.diff(scan.array[1], axis=1) > 0).all()
        assert (np.diff(scan.array[2], axis=2) > 0).all()
        assert np.array_equal(order.undone(scan.array), volume.array)
        lies = order.applied_grid(grid)
        assert lies.orientation == "RAS"
        np.testing.assert_allclose(lies.affine @ [1, 2, 3, 1], [*scan.array[:, 1, 2, 3], 1], atol=1e-9)
        np.testing.assert_allclose(scan.spacing_mm, lies.spacing_mm, rtol=1e-7)
        assert upright(scan)[0] is scan


def test_boxes_hold_the_same_voxels() -> None:
    box = (slice(1, 3), slice(0, 4), slice(5, 7))
    for order in (LPS, ASL):
        moved = order.applied(ARRAY)
        there = order.applied_box(box, RAS.shape)
        assert np.array_equal(np.unique(moved[(slice(None), *there)]), np.unique(ARRAY[(slice(None), *box)]))
        assert order.undone_box(there, RAS.shape) == box


def test_an_upright_grid_is_the_same_to_the_last_bit_whatever_stood_in_the_header() -> None:
    """Origins are stored in single precision, and quaternions leave their own dust."""
    draw = np.random.default_rng(0)
    expected = upright_grid(RAS).affine
    assert np.array_equal(expected, np.diag([0.5, np.float64(np.float32(0.7)), 3, 1]))
    for order in (LPS, ASL):
        grid = order.applied_grid(RAS)
        dusty = Grid(grid.shape, grid.affine * (1 + draw.uniform(-1e-15, 1e-15, size=(4, 4))))
        assert np.array_equal(upright_grid(dusty).affine, expected)
        assert upright_grid(dusty).shape == RAS.shape


def test_memory_laid_out_otherwise_is_made_the_same() -> None:
    """Sums depend on the order in memory."""
    volume = Volume(np.asfortranarray(ARRAY), upright_grid(RAS))
    scan, order = upright(volume)
    assert order.is_identity
    assert scan.array.flags.c_contiguous


def test_a_mask_in_another_order_is_brought_onto_its_image_without_interpolation() -> None:
    for order in (LPS, ASL):
        mask = Volume(order.applied(ARRAY[:1]), order.applied_grid(RAS), Path("mask.nii"), notes=("odd",), sides_known=False)
        found = reordered(mask, RAS, names=NAMES)
        assert np.array_equal(found.array, ARRAY[:1])
        np.testing.assert_allclose(found.grid.affine, RAS.affine, atol=1e-12)
        beside = upright_mask(mask, LPS.applied_grid(RAS), names=NAMES)
        assert np.array_equal(beside.array, ARRAY[:1])
        assert order_to_upright(beside.grid).is_identity
        assert (found.notes, found.path, found.sides_known) == (mask.notes, mask.path, False)
        assert upright(mask)[0].notes == beside.notes == mask.notes
    same = Volume(ARRAY[:1], RAS)
    assert reordered(same, RAS, names=NAMES) is same


def test_a_mask_on_another_grid_is_refused_in_any_order() -> None:
    for order in (Order((0, 1, 2), (False, False, False)), LPS, ASL):
        moved = RAS.affine.copy()
        moved[0, 3] += 0.06  # 0.12 voxel
        aside = Grid(RAS.shape, moved)
        with pytest.raises(GridError, match=r"image.nii and mask.nii must lie on one grid .* got corners 0.12 voxels apart"):
            order_onto(order.applied_grid(aside), RAS, names=NAMES)
        moved[0, 3] -= 0.02  # 0.08 voxel
        order_onto(order.applied_grid(Grid(RAS.shape, moved)), RAS, names=NAMES)
    with pytest.raises(GridError, match=r"got shapes \(5, 6, 7\) and \(5, 6, 8\)"):
        order_onto(Grid((5, 6, 8), RAS.affine), RAS, names=NAMES)
    oblique = RAS.affine.copy()
    oblique[:2, :2] = [[0.35, 0.5], [-0.35, 0.5]]
    with pytest.raises(GridError, match="must lie on one grid"):
        order_onto(Grid(RAS.shape, oblique), RAS, names=NAMES)
