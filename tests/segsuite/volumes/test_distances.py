from __future__ import annotations

import numpy as np
import pytest

from segsuite.volumes.distances import signed_distance_mm


def test_is_positive_inside_and_in_mm() -> None:
    """A slab of two voxels along k, 3 mm thick: the nearest voxel of the other side is one step away."""
    mask = np.zeros((3, 3, 6), dtype=bool)
    mask[:, :, 2:4] = True
    assert signed_distance_mm(mask, (1.0, 1.0, 3.0))[1, 1].tolist() == [-6, -3, 3, 3, -3, -6]


def test_equals_a_search_over_all_voxels() -> None:
    draw = np.random.default_rng(0)
    mask = draw.random((5, 6, 4)) < 0.3
    spacing = np.array([0.7, 1.3, 2.9])
    inside, outside = np.argwhere(mask) * spacing, np.argwhere(~mask) * spacing
    found = signed_distance_mm(mask, tuple(spacing))
    for at in np.ndindex(mask.shape):
        other = outside if mask[at] else inside
        nearest = np.linalg.norm(other - np.array(at) * spacing, axis=1).min()
        assert found[at] == pytest.approx(nearest if mask[at] else -nearest, rel=1e-5)


def test_limit_and_masks_without_a_surface() -> None:
    mask = np.zeros((9, 3, 3), dtype=bool)
    assert (signed_distance_mm(mask, (1.0, 1.0, 1.0), limit_mm=5) == -5).all()
    assert (signed_distance_mm(~mask, (1.0, 1.0, 1.0), limit_mm=5) == 5).all()
    mask[0] = True
    assert signed_distance_mm(mask, (1.0, 1.0, 1.0), limit_mm=5)[8, 0, 0] == -5
