from __future__ import annotations

import numpy as np
import pytest

from segsuite.data.phantoms.anatomy import AFS, DPU, PZ, TZ, draw_anatomy, gland_distance_mm, warped, zone_map
from segsuite.data.phantoms.fields import centred_coordinates
from segsuite.seeding import keyed_generator

POINTS = centred_coordinates((96, 96, 72), (1.0, 1.0, 1.0))


def zones_of(seed: int) -> np.ndarray:
    return zone_map(POINTS, draw_anatomy(keyed_generator(seed, "anatomy")))


@pytest.fixture(scope="module")
def volumes_ml() -> np.ndarray:
    """Zone volumes of 30 draws, (30, 5), in ml; voxels are 1 mm^3."""
    return np.array([np.bincount(zones_of(seed).ravel(), minlength=5) for seed in range(30)]) / 1000


@pytest.mark.parametrize(
    ("zone", "lowest", "highest", "mean_low", "mean_high"),
    [(PZ, 7, 47, 14, 26), (TZ, 3, 91, 18, 34), (DPU, 0.15, 1.1, 0.3, 0.6), (AFS, 0.2, 6.5, 1.4, 3.4)],
    ids=["PZ", "TZ", "DPU", "AFS"],
)
def test_zone_volumes_are_those_of_prostates(
    volumes_ml: np.ndarray, zone: int, lowest: float, highest: float, mean_low: float, mean_high: float
) -> None:
    """Ranges of real zones; the outer ones widened to what PI-CAI masks and thin-stroma cases show."""
    assert volumes_ml[:, zone].min() > lowest
    assert volumes_ml[:, zone].max() < highest
    assert mean_low < volumes_ml[:, zone].mean() < mean_high


def test_gland_has_the_volume_that_was_drawn() -> None:
    for seed in range(8):
        anatomy = draw_anatomy(keyed_generator(seed, "anatomy"))
        gland_ml = (zone_map(POINTS, anatomy) > 0).sum() / 1000
        assert gland_ml == pytest.approx(anatomy.volume_ml, rel=0.2)


def test_zones_lie_where_zones_lie() -> None:
    """PZ behind TZ, AFS in front of it, DPU below it (y back, z up)."""
    x, y, z = np.broadcast_arrays(*POINTS)
    for seed in range(8):
        zones = zones_of(seed)
        assert y[zones == PZ].mean() > y[zones == TZ].mean() > y[zones == AFS].mean()
        assert z[zones == DPU].mean() < z[zones == TZ].mean()
        assert abs(x[zones == DPU].mean()) < 1


def test_distance_is_negative_inside_and_zero_on_the_surface() -> None:
    anatomy = draw_anatomy(keyed_generator(0, "anatomy"))
    distance = gland_distance_mm(POINTS, anatomy)
    assert ((zone_map(POINTS, anatomy) > 0) <= (distance < 0)).all()
    assert distance[0, 0, 0] > 10


def test_warp_is_smooth_and_small() -> None:
    moved = warped(POINTS, keyed_generator(0, "warp"), amplitude_mm=1.5)
    shift = moved[0] - POINTS[0]
    assert 0.3 < np.abs(shift).max() < 8
    assert np.abs(np.diff(shift, axis=1)).max() < 0.6
