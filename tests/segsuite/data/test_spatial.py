from __future__ import annotations

import numpy as np
import pytest
import torch

from segsuite.data.spatial import SpatialAugmentation, draw_affine, look, read_view

SHAPE = (20, 18, 16)
POSITIONS = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in SHAPE), indexing="ij"))
LABEL = (POSITIONS[0] > 9).astype(np.int8) + 2 * (POSITIONS[1] > 8).astype(np.int8)


def read_patch(image: np.ndarray, label: np.ndarray, *how: object) -> tuple[np.ndarray, np.ndarray]:
    part, marks, view = read_view(image, label, *how)
    seen, named = look(torch.from_numpy(part), torch.from_numpy(marks), view)
    return seen.numpy(), named.numpy()


def test_without_a_turn_the_patch_is_the_window() -> None:
    image, label = read_patch(POSITIONS, LABEL, (10, 9, 8), (6, 4, 8), None)
    np.testing.assert_array_equal(image, POSITIONS[:, 7:13, 7:11, 4:12])
    np.testing.assert_array_equal(label, LABEL[7:13, 7:11, 4:12])


def test_outside_is_not_scored() -> None:
    image, label = read_patch(POSITIONS, LABEL, (1, 9, 8), (8, 4, 4), None)
    assert (label[:3] == -1).all()
    assert (label[3:] >= 0).all()
    assert (image[0, :3] == 0).all()


@pytest.mark.parametrize("degrees", [0.0, 20.0, 90.0])
def test_turned_patch_samples_where_the_matrix_says(degrees: float) -> None:
    """The image holds its own coordinates, so a patch must read centre + matrix @ offset."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 0.8]])
    size, centre = (5, 5, 5), (10, 9, 8)
    image, _ = read_patch(POSITIONS, LABEL, centre, size, matrix)
    offsets = np.stack(np.meshgrid(*(np.arange(5) - 2.0,) * 3, indexing="ij"))
    expected = np.asarray(centre).reshape(3, 1, 1, 1) + np.einsum("ab,bijk->aijk", matrix, offsets)
    np.testing.assert_allclose(image, expected, atol=0.02)


def test_labels_are_never_mixed() -> None:
    draw = np.random.default_rng(0)
    always = SpatialAugmentation(rotate_probability=1, scale_probability=1)
    for _ in range(10):
        _, label = read_patch(
            POSITIONS, np.where(LABEL == 2, 3, LABEL * 0 + 1), (10, 9, 8), (8, 8, 8), draw_affine(always, draw, (1, 1, 1))
        )
        assert set(np.unique(label)) <= {-1, 1, 3}


def test_many_labels_take_the_nearest() -> None:
    label = (POSITIONS[0] % 12).astype(np.int16)
    _, moved = read_patch(POSITIONS, label, (10, 9, 8), (7, 5, 5), np.eye(3))
    np.testing.assert_array_equal(moved[:, 2, 2], label[7:14, 9, 8])


def test_rotation_is_rigid_in_mm() -> None:
    spacing = np.array([1.0, 1.0, 4.0])
    only = SpatialAugmentation(rotate_probability=1, scale_probability=0)
    matrix = draw_affine(only, np.random.default_rng(1), tuple(spacing))
    in_mm = np.diag(spacing) @ matrix @ np.diag(1 / spacing)
    np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)


def test_in_plane_only_keeps_slices() -> None:
    flat = SpatialAugmentation(rotate_probability=1, scale_probability=0, in_plane_only=True)
    matrix = draw_affine(flat, np.random.default_rng(1), (1, 1, 4))
    np.testing.assert_allclose(matrix[2], [0, 0, 1], atol=1e-12)


def test_never_is_the_identity() -> None:
    assert draw_affine(SpatialAugmentation(0, 30, 0), np.random.default_rng(0), (1, 1, 1)) is None
