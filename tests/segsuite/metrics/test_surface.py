from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from segsuite.metrics import surface
from segsuite.metrics.surface import (
    average_symmetric_surface_distance_mm,
    hausdorff_distance_mm,
    mean_average_surface_distance_mm,
    surface_dice_score,
    surface_distances_mm,
    surface_voxels,
)
from segsuite.shapes import Mask

SPACING = (0.6, 0.9, 3.0)


def blobs(seed: int, shape: tuple[int, ...] = (20, 18, 12)) -> tuple[Mask, Mask]:
    draw = np.random.default_rng(seed)
    grid = np.indices(shape)

    def ball() -> Mask:
        centre = np.array(shape) / 2 + draw.normal(0, 1.5, 3)
        radii = draw.uniform(3, 6, 3)
        return (((grid - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(axis=0) < 1

    return ball(), ball() | (draw.random(shape) > 0.995)


def special() -> dict[str, tuple[Mask, Mask]]:
    thin, one, border = (np.zeros((10, 10, 6), dtype=bool) for _ in range(3))
    thin[2:8, 5, 3] = True
    one[4, 4, 2] = True
    border[0:4, 0:10, 0:6] = True
    return {
        "thin": (thin, np.roll(thin, 1, 1)),
        "one voxel": (one, thin),
        "touching the border": (border, np.roll(border, 2, 0)),
    }


PAIRS = {f"random {seed}": blobs(seed) for seed in range(5)} | special()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("way", ["steps", "tree", "transform"])
class TestAgainstMonai:
    """MONAI's surfaces are the same boundary voxels, so numbers must agree; it knows no pooled mean."""

    def test_distances_and_surface_dice(self, name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(surface, "TREE_COST_PER_POINT", 10**9 if way == "transform" else 0)
        monkeypatch.setattr(surface, "NEAR_STEPS", 10_000 if way == "steps" else 1)
        surface._near_steps.cache_clear()
        predicted, reference = PAIRS[name]
        distances = surface_distances_mm(predicted, reference, spacing_mm=SPACING)
        tensors = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, reference)]
        options = {"include_background": True, "spacing": SPACING}
        for percentile in (95, 100):
            peer = compute_hausdorff_distance(*tensors, percentile=percentile, **options)
            assert hausdorff_distance_mm(distances, percentile=percentile) == pytest.approx(float(peer), abs=1e-4)
        # MONAI pools both directions when symmetric
        pooled = compute_average_surface_distance(*tensors, symmetric=True, **options)
        assert average_symmetric_surface_distance_mm(distances) == pytest.approx(float(pooled), abs=1e-4)
        directed = [float(compute_average_surface_distance(*pair, **options)) for pair in (tensors, tensors[::-1])]
        assert mean_average_surface_distance_mm(distances) == pytest.approx(sum(directed) / 2, abs=1e-4)
        peer = compute_surface_dice(*tensors, class_thresholds=[1.0], **options)
        assert surface_dice_score(distances, tolerance_mm=1.0) == pytest.approx(float(peer), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_within_a_voxel_of_surface_elements(seed: int) -> None:
    """The surface-distance package measures between surface elements; boundary voxels differ by less than a voxel."""
    predicted, reference = blobs(seed)
    peer = surface_distance.compute_surface_distances(reference, predicted, SPACING)
    ours = hausdorff_distance_mm(surface_distances_mm(predicted, reference, spacing_mm=SPACING), percentile=95)
    assert ours == pytest.approx(surface_distance.compute_robust_hausdorff(peer, 95), abs=max(SPACING))


def test_shifted_cube_worked_by_hand() -> None:
    """A 4 x 4 x 4 cube moved by one voxel of 0.6 mm: the farthest surface voxel is 0.6 mm away."""
    cube = np.zeros((8, 8, 8), dtype=bool)
    cube[2:6, 2:6, 2:6] = True
    distances = surface_distances_mm(np.roll(cube, 1, 0), cube, spacing_mm=(0.6, 1.0, 2.0))
    assert hausdorff_distance_mm(distances, percentile=100) == pytest.approx(0.6)
    # 56 surface voxels; of the leading face's 16 all are 0.6 away, and the 4 inner ones of the old trailing face's row
    assert len(distances.to_reference) == 56
    assert average_symmetric_surface_distance_mm(distances) == pytest.approx(0.6 * (16 + 4) / 56)


def test_surface_is_voxels_with_an_open_face() -> None:
    cube = np.zeros((5, 5, 5), dtype=bool)
    cube[1:4, 1:4, 1:4] = True
    assert surface_voxels(cube).sum() == 26
    assert surface_voxels(np.ones((3, 3, 3), dtype=bool)).sum() == 26


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING, (0.5, 0.5, 3.0), (5.0, 0.7, 0.7)])
def test_steps_leave_no_nearer_grid_point_out(spacing: tuple[float, ...]) -> None:
    """A slow second implementation: all steps in a large cube, sorted."""
    surface._near_steps.cache_clear()
    steps, lengths = surface._near_steps(spacing)
    cube = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    every = np.sort(np.linalg.norm(cube * spacing, axis=1))
    assert len(steps) == surface.NEAR_STEPS
    np.testing.assert_allclose(lengths, every[: len(lengths)])
    assert len({tuple(step) for step in steps}) == len(steps)


def test_both_ways_of_searching_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, reference = blobs(7)
    results = []
    for cost in (0, 10**9):
        monkeypatch.setattr(surface, "TREE_COST_PER_POINT", cost)
        results.append(surface_distances_mm(predicted, reference, spacing_mm=SPACING))
    np.testing.assert_allclose(results[0].to_reference, results[1].to_reference, atol=1e-9)


def test_a_distance_that_equals_the_tolerance_is_within_it() -> None:
    """NIfTI headers hold 0.7 mm as 0.69999998807...; three voxels are 2.1 mm all the same."""
    mask = np.zeros((12, 3, 3), dtype=bool)
    mask[2, 1, 1] = True
    for spacing in (np.float64(np.float32(0.7)), 0.7):
        distances = surface_distances_mm(np.roll(mask, 3, 0), mask, spacing_mm=(float(spacing), 1.0, 1.0))
        assert surface_dice_score(distances, tolerance_mm=2.1) == 1


def test_missed_structure_is_infinitely_far() -> None:
    predicted, reference = blobs(0)
    distances = surface_distances_mm(predicted & False, reference, spacing_mm=SPACING)
    assert math.isinf(hausdorff_distance_mm(distances, percentile=95))
    assert surface_dice_score(distances, tolerance_mm=1e6) == 0


@pytest.mark.slow
@pytest.mark.data
def test_real_pairs_agree_with_monai(real_data: Path) -> None:
    from segsuite.volumes.grid import resample
    from segsuite.volumes.reading import read_labels

    folder = real_data / "picai_zone_masks"
    names = sorted(path.name for path in (folder / "zones_Yuan23").iterdir())[:6]
    for name in names:
        first, second = (read_labels(folder / rater / name) for rater in ("zones_Yuan23", "zones_HeviAI23"))
        other = resample(second.labels, second.grid, first.grid, interpolation="nearest")
        for label in (1, 2):
            predicted, reference = first.labels == label, other == label
            distances = surface_distances_mm(predicted, reference, spacing_mm=first.spacing_mm)
            tensors = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, reference)]
            peer = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=first.spacing_mm)
            assert hausdorff_distance_mm(distances, percentile=95) == pytest.approx(float(peer), abs=1e-3)
