from __future__ import annotations

import numpy as np
import pytest

from segsuite.data.phantoms.anatomy import AFS, PZ, TZ, draw_anatomy, gland_distance_mm, zone_map
from segsuite.data.phantoms.appearance import MEANS, Scanner, acquire, draw_scanner, draw_tissue_means, paint
from segsuite.data.phantoms.fields import centred_coordinates
from segsuite.data.phantoms.pelvis import TISSUES, draw_pelvis, tissue_map

POINTS = centred_coordinates((80, 80, 48), (1.4, 1.4, 1.5))
ANATOMY = draw_anatomy(np.random.default_rng(3))
ZONES = zone_map(POINTS, ANATOMY)
DRAW = np.random.default_rng(4)
OUTSIDE = gland_distance_mm(POINTS, ANATOMY)
AROUND = tissue_map(POINTS, ANATOMY, draw_pelvis(DRAW, ANATOMY), ZONES, OUTSIDE, DRAW)
BLADDER = (TISSUES.index("bladder") == AROUND) & (ZONES == 0)


def test_every_tissue_has_an_intensity() -> None:
    assert set(TISSUES) <= set(MEANS)


def test_tissues_have_the_contrast_of_t2w() -> None:
    means = draw_tissue_means(np.random.default_rng(0), randomise=0)
    image = paint(POINTS, ANATOMY, ZONES, AROUND, OUTSIDE, means, np.random.default_rng(1), lesion=None)
    medians = [np.median(image[mask]) for mask in (ZONES == AFS, ZONES == TZ, ZONES == PZ, BLADDER)]
    assert medians == sorted(medians)


def test_randomised_means_leave_their_ranges() -> None:
    kept = draw_tissue_means(np.random.default_rng(0), randomise=0)
    assert all(low <= kept[tissue] <= high for tissue, (low, high) in MEANS.items())
    wild = draw_tissue_means(np.random.default_rng(0), randomise=0.6)
    assert sum(not low <= wild[tissue] <= high for tissue, (low, high) in MEANS.items()) > len(MEANS) / 3


def test_noise_is_rician() -> None:
    """Without signal the magnitude is Rayleigh: mean sigma * sqrt(pi / 2)."""
    scanner = Scanner(gain=100, bias=0, noise=0.2, slice_jitter=0)
    empty = acquire(
        np.zeros((40, 40, 60), dtype=np.float32), scanner, np.random.default_rng(0), spacing_mm=(1, 1, 3), slices_per_voxel=3
    )
    assert empty.shape == (40, 40, 20)
    assert empty.mean() == pytest.approx(100 * 0.2 * np.sqrt(np.pi / 2), rel=0.01)


def test_slices_are_averaged() -> None:
    ideal = np.tile(np.array([0, 3, 6], dtype=np.float32), (8, 8, 4)) + 10
    quiet = Scanner(gain=1, bias=0, noise=1e-9, slice_jitter=0)
    image = acquire(ideal, quiet, np.random.default_rng(0), spacing_mm=(1, 1, 3), slices_per_voxel=3)
    np.testing.assert_allclose(image, 13, rtol=1e-4)


def test_sites_differ() -> None:
    assert draw_scanner(np.random.default_rng(0)) != draw_scanner(np.random.default_rng(1))
