"""The peer is google-deepmind's surface-distance, which weights surface elements by area too."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import surface_distance
from surface_distance import lookup_tables

from segsuite.errors import GridError
from segsuite.metrics.surface import (
    SurfaceDistances,
    average_symmetric_surface_distance_mm,
    hausdorff_distance_mm,
    mean_average_surface_distance_mm,
    surface_dice_score,
)
from segsuite.metrics.surface_elements import element_areas_mm2, surface_element_distances_mm
from segsuite.shapes import Mask, Spacing

SPACING = (0.6, 0.9, 3.0)


def ball(radius_mm: float, spacing: Spacing) -> Mask:
    axes = [np.arange(-radius_mm - 2, radius_mm + 2, step) for step in spacing]
    return sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) < radius_mm**2


def pairs() -> dict[str, tuple[Mask, Mask]]:
    draw = np.random.default_rng(0)
    thin, one, border = (np.zeros((10, 10, 6), dtype=bool) for _ in range(3))
    thin[2:8, 5, 3] = True
    one[4, 4, 2] = True
    border[0:4, 0:10, 0:6] = True
    oblique = np.indices((12, 12, 8)).sum(axis=0) % 9 < 3
    noise = [draw.random((14, 11, 9)) > threshold for threshold in (0.5, 0.7, 0.97, 0.9)]
    return {
        "thin": (thin, np.roll(thin, 1, 1)),
        "one voxel": (one, thin),
        "touching the border": (border, np.roll(border, 2, 0)),
        "oblique sheets": (oblique, np.roll(oblique, 2, 2)),
        "dense noise": (noise[0], noise[1]),
        "scattered voxels": (noise[2], noise[3]),
        "full": (np.ones((4, 5, 3), dtype=bool), np.indices((4, 5, 3)).sum(axis=0) < 6),
    }


def require_equal_to_peer(predicted: Mask, reference: Mask, spacing: Spacing) -> SurfaceDistances:
    ours = surface_element_distances_mm(predicted, reference, spacing_mm=spacing)
    peer = surface_distance.compute_surface_distances(reference, predicted, spacing)
    assert ours.areas_predicted.sum() == pytest.approx(peer["surfel_areas_pred"].sum(), rel=1e-6)
    for percentile in (95, 100):
        theirs = surface_distance.compute_robust_hausdorff(peer, percentile)
        assert hausdorff_distance_mm(ours, percentile=percentile) == pytest.approx(theirs, abs=1e-4)
    directed = surface_distance.compute_average_surface_distance(peer)
    assert mean_average_surface_distance_mm(ours) == pytest.approx(sum(directed) / 2, abs=1e-4)
    areas = peer["surfel_areas_gt"].sum(), peer["surfel_areas_pred"].sum()
    pooled = float(np.average(directed, weights=areas))
    assert average_symmetric_surface_distance_mm(ours) == pytest.approx(pooled, abs=1e-4)
    for tolerance in (0.5, 1.0, 2.0):
        theirs = surface_distance.compute_surface_dice_at_tolerance(peer, tolerance)
        assert surface_dice_score(ours, tolerance_mm=tolerance) == pytest.approx(theirs, abs=1e-4)
    return ours


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING])
def test_area_of_every_neighbourhood_is_the_peers(spacing: tuple[float, float, float]) -> None:
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    np.testing.assert_allclose(element_areas_mm2(spacing), theirs, atol=1e-6)


def test_one_corner_worked_by_hand() -> None:
    """A triangle between the middles of three edges: half the product of two sides when seen along the third axis."""
    a, b, c = SPACING
    sides = [(a / 2 * b / 2) / 2, (b / 2 * c / 2) / 2, (a / 2 * c / 2) / 2]
    assert element_areas_mm2(SPACING)[1] == pytest.approx(math.sqrt(sum(side**2 for side in sides)))


@pytest.mark.parametrize("name", pairs())
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING])
def test_all_distances_are_the_peers(name: str, spacing: Spacing) -> None:
    require_equal_to_peer(*pairs()[name], spacing)


def test_a_ball_has_the_area_of_its_surface() -> None:
    """Voxel steps make it larger, by less than a tenth."""
    distances = surface_element_distances_mm(ball(20, (1.0, 1.0, 1.0)), ball(20, (1.0, 1.0, 1.0)), spacing_mm=(1.0, 1.0, 1.0))
    assert 1.0 < distances.areas_predicted.sum() / (4 * math.pi * 20**2) < 1.1


def test_a_block_has_the_area_of_its_faces() -> None:
    block = np.zeros((30, 30, 30), dtype=bool)
    block[4:24, 4:24, 4:24] = True
    distances = surface_element_distances_mm(block, block, spacing_mm=(1.0, 1.0, 1.0))
    assert distances.areas_predicted.sum() == pytest.approx(6 * 20**2, rel=0.05)


def test_one_empty_mask_is_infinitely_far_and_both_are_nothing() -> None:
    predicted, reference = pairs()["thin"]
    missed = surface_element_distances_mm(predicted & False, reference, spacing_mm=SPACING)
    assert math.isinf(hausdorff_distance_mm(missed, percentile=95))
    assert surface_dice_score(missed, tolerance_mm=1e6) == 0
    nothing = surface_element_distances_mm(predicted & False, reference & False, spacing_mm=SPACING)
    assert math.isnan(average_symmetric_surface_distance_mm(nothing))
    assert math.isnan(surface_dice_score(nothing, tolerance_mm=1))


def test_other_shape_is_refused() -> None:
    with pytest.raises(GridError, match="shape"):
        surface_element_distances_mm(np.ones((3, 3, 3), dtype=bool), np.ones((3, 3, 4), dtype=bool), spacing_mm=SPACING)


@pytest.mark.data
@pytest.mark.slow
def test_real_pairs_are_the_peers(real_data: Path) -> None:
    from segsuite.volumes.grid import resample
    from segsuite.volumes.reading import read_labels

    folder = real_data / "picai_zone_masks"
    names = sorted(path.name for path in (folder / "zones_Yuan23").iterdir())
    for name in names[::10]:  # the peer takes two seconds a case; benchmarks/metrics.py --pairs compares all
        first, second = (read_labels(folder / rater / name) for rater in ("zones_Yuan23", "zones_HeviAI23"))
        other = resample(second.labels, second.grid, first.grid, interpolation="nearest")
        for label in (1, 2):
            require_equal_to_peer(first.labels == label, other == label, first.spacing_mm)
