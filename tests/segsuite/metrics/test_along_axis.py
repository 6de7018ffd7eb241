from __future__ import annotations

import math

import numpy as np
import pytest

from segsuite.metrics.along_axis import centre_line_distance_mm, dice_per_third

SHAPE = (10, 10, 12)
SPACING = (0.5, 0.5, 3.0)


def tube(at: int, first: int, last: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[at : at + 3, 4:7, first : last + 1] = True
    return mask


def test_identical_tubes_are_zero_apart_and_shift_is_in_mm() -> None:
    assert centre_line_distance_mm(tube(2, 1, 8), tube(2, 1, 8), spacing_mm=SPACING, axis=2) == 0
    assert centre_line_distance_mm(tube(2, 1, 8), tube(4, 1, 8), spacing_mm=SPACING, axis=2) == pytest.approx(1.0)
    doubled = tuple(2 * mm for mm in SPACING)
    assert centre_line_distance_mm(tube(2, 1, 8), tube(4, 1, 8), spacing_mm=doubled, axis=2) == pytest.approx(2.0)


def test_a_short_tube_pays_for_its_end_from_both_sides_alike() -> None:
    """Two of four planes are missing, 3 and 6 mm away: (0 + (3 + 6) / 4) / 2."""
    long, short = tube(2, 1, 4), tube(2, 1, 2)
    assert centre_line_distance_mm(short, long, spacing_mm=SPACING, axis=2) == pytest.approx(9 / 8)
    assert centre_line_distance_mm(long, short, spacing_mm=SPACING, axis=2) == pytest.approx(9 / 8)


def test_empty_tubes() -> None:
    none = np.zeros(SHAPE, dtype=bool)
    assert math.isnan(centre_line_distance_mm(none, none, spacing_mm=SPACING, axis=2))
    assert math.isinf(centre_line_distance_mm(tube(2, 1, 8), none, spacing_mm=SPACING, axis=2))


def test_thirds_see_where_the_error_is() -> None:
    """Nine planes from 1 to 9; the prediction lacks the lowest two and has one too many at the top."""
    reference, predicted = tube(2, 1, 9), tube(2, 3, 10)
    found = dice_per_third(predicted, reference, extent=(1, 10), axis=2, downwards=False)
    assert found == {"lower": pytest.approx(0.5), "middle": 1.0, "upper": pytest.approx(6 / 7)}
    turned = dice_per_third(predicted[..., ::-1], reference[..., ::-1], extent=(2, 11), axis=2, downwards=True)
    assert turned == found


def test_thirds_of_nothing_are_nothing() -> None:
    none = np.zeros(SHAPE, dtype=bool)
    found = dice_per_third(tube(2, 1, 3), none, extent=(1, 10), axis=2, downwards=False)
    assert found["lower"] == 0
    assert math.isnan(found["middle"])
