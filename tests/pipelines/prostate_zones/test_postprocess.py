from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipelines.prostate_zones.postprocess import tidy_zones

ZONES = {
    1: "peripheral_zone",
    2: "transition_zone",
    3: "distal_prostatic_urethra",
    4: "anterior_fibromuscular_stroma",
}
SPACING = (1.0, 1.0, 3.0)


def gland() -> np.ndarray:
    labels = np.zeros((16, 16, 10), dtype=np.uint8)
    labels[3:13, 3:13, 2:8] = 1
    labels[5:11, 5:11, 4:8] = 2
    return labels


def test_clean_zones_stay_as_they_are() -> None:
    assert np.array_equal(tidy_zones(gland(), SPACING, ZONES), gland())


def test_islands_outside_become_background_and_inside_the_nearest_zone() -> None:
    labels = gland()
    labels[0, 0, 0] = 2  # far away
    labels[3, 3, 2] = 2  # a lone TZ voxel in the PZ
    assert np.array_equal(tidy_zones(labels, SPACING, ZONES), gland())


def test_enclosed_background_is_filled() -> None:
    labels = gland()
    labels[8, 8, 6] = labels[4, 4, 3] = 0
    assert np.array_equal(tidy_zones(labels, SPACING, ZONES), gland())


@pytest.mark.parametrize(("spacing", "zone"), [((1.0, 10.0, 3.0), 1), ((3.0, 10.0, 1.0), 2)])
def test_nearest_is_measured_in_mm(spacing: tuple[float, float, float], zone: int) -> None:
    """The middle of the hole is two voxels from zone 1 along i and one voxel from zone 2 along k."""
    labels = np.ones((7, 5, 5), dtype=np.uint8)
    labels[:, :, :2] = labels[:, :, 3:] = 2
    labels[2:5, 1:4, 2] = 0
    assert tidy_zones(labels, spacing, ZONES)[3, 2, 2] == zone


def test_both_horns_of_the_peripheral_zone_stay_and_a_crumb_does_not() -> None:
    labels = np.zeros((20, 10, 4), dtype=np.uint8)
    labels[4:16, 2:8] = 2
    labels[:4, 2:8], labels[16:, 2:6] = 1, 1  # two horns on either side of the TZ
    labels[10, 8, 0] = 1  # a crumb
    tidied = tidy_zones(labels, SPACING, ZONES)
    assert (tidied[:4, 2:8] == 1).all()
    assert (tidied[16:, 2:6] == 1).all()
    assert tidied[10, 8, 0] == 2
    labels[labels == 1] = 3  # of the urethra only the larger part stays
    assert (tidy_zones(labels, SPACING, ZONES)[16:, 2:6] == 2).all()


def test_empty_stays_empty() -> None:
    assert not tidy_zones(np.zeros((4, 4, 4), dtype=np.uint8), SPACING, ZONES).any()


@pytest.mark.parametrize("share", [0.15, 0.5])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 100_000))
def test_is_idempotent_invents_no_zone_and_stays_in_the_hull(share: float, seed: int) -> None:
    """Invariants 5, 9 and 12 on noise, which is worse than any network."""
    draw = np.random.default_rng(seed)
    zones = ndimage.zoom(draw.integers(1, 5, size=(4, 4, 3)), 3, order=0).astype(np.uint8)
    labels = np.where(draw.random(zones.shape) < share, zones, 0).astype(np.uint8)
    labels[labels == int(draw.integers(1, 5))] = 0
    once = tidy_zones(labels, SPACING, ZONES)
    assert np.array_equal(tidy_zones(once, SPACING, ZONES), once)
    assert set(np.unique(once)) <= set(np.unique(labels))
    assert once.dtype == labels.dtype
    used = np.argwhere(labels > 0)
    outside = np.ones(labels.shape, dtype=bool)
    outside[tuple(slice(a, b + 1) for a, b in zip(used.min(0), used.max(0), strict=True))] = False
    assert not once[outside].any()


def test_flip_commutes() -> None:
    """Invariant 8, of post-processing."""
    labels = gland()
    labels[3, 3, 2], labels[12, 12, 7], labels[8, 8, 6] = 2, 3, 0
    assert np.array_equal(tidy_zones(labels[::-1], SPACING, ZONES)[::-1], tidy_zones(labels, SPACING, ZONES))
