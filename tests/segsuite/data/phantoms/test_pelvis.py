from __future__ import annotations

import numpy as np
import pytest

from segsuite.data.phantoms.anatomy import PZ, SURROUNDINGS, TZ, draw_anatomy, gland_distance_mm, zone_map
from segsuite.data.phantoms.fields import centred_coordinates
from segsuite.data.phantoms.pelvis import SURROUNDING_TISSUES, TISSUES, draw_pelvis, surroundings_of, tissue_map

POINTS = centred_coordinates((84, 84, 52), (1.4, 1.4, 1.5))


@pytest.fixture(params=range(4))
def pelvis(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Zones, tissues, named structures of four random patients."""
    draw = np.random.default_rng(request.param)
    anatomy = draw_anatomy(draw)
    zones = zone_map(POINTS, anatomy)
    tissue = tissue_map(POINTS, anatomy, draw_pelvis(draw, anatomy), zones, gland_distance_mm(POINTS, anatomy), draw)
    return zones, tissue, surroundings_of(tissue, zones)


def test_structures_are_outside_the_gland_and_where_they_belong(pelvis: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    zones, _, around = pelvis
    assert not ((around > 0) & (zones > 0)).any()
    assert set(np.unique(around)) == {0, *SURROUNDINGS.values()}
    x, y, z = (np.broadcast_to(axis, zones.shape) for axis in POINTS)
    assert y[around == SURROUNDINGS["rectum"]].mean() > y[zones == PZ].mean()
    assert z[around == SURROUNDINGS["bladder"]].mean() > z[zones == TZ].mean()
    assert z[around == SURROUNDINGS["seminal_vesicles"]].mean() > z[zones > 0].mean()
    assert np.abs(x[around == SURROUNDINGS["muscle"]]).mean() > np.abs(x[zones > 0]).mean()


def test_apron_touches_the_front_of_the_gland(pelvis: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """The muscle before the AFS looks like it: what makes its outer border faint."""
    zones, tissue, _ = pelvis
    apron = (tissue == TISSUES.index("apron")) & (zones == 0)
    assert apron.any()
    assert np.broadcast_to(POINTS[1], zones.shape)[apron].max() < 0


def test_tissues_of_structures_are_known() -> None:
    assert {part for parts in SURROUNDING_TISSUES.values() for part in parts} <= set(TISSUES)
    assert set(SURROUNDING_TISSUES) == set(SURROUNDINGS)


def test_is_the_same_for_the_same_seed() -> None:
    anatomy = draw_anatomy(np.random.default_rng(1))
    zones = zone_map(POINTS, anatomy)
    maps = []
    for _ in range(2):
        draw = np.random.default_rng(7)
        maps.append(tissue_map(POINTS, anatomy, draw_pelvis(draw, anatomy), zones, gland_distance_mm(POINTS, anatomy), draw))
    assert np.array_equal(*maps)
