"""What every metric of the house must fulfil, on masks small enough to draw."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segsuite.metrics.per_case import HIGHER_IS_BETTER, measure_structure

SPACING = (0.5, 1.0, 3.0)
TOLERANCES = (1.0, 2.0)


def block(*corners: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((9, 8, 7), dtype=bool)
    mask[tuple(slice(a, b) for a, b in corners)] = True
    return mask


FIRST, SECOND, EMPTY = block((2, 6), (2, 6), (2, 5)), block((3, 7), (2, 6), (2, 5)), block((0, 0), (0, 0), (0, 0))
NAMES = sorted(measure_structure(FIRST, SECOND, spacing_mm=SPACING, tolerances_mm=TOLERANCES))
OVERLAPS = [name for name in NAMES if name.startswith(HIGHER_IS_BETTER)]
DISTANCES = ["assd", "hd", "hd95", "masd"]
ONE_SIDED = {"sensitivity": "precision", "precision": "sensitivity"}


def measure(predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...] = SPACING) -> dict[str, float]:
    values = measure_structure(predicted, reference, spacing_mm=spacing, tolerances_mm=TOLERANCES)
    return {name: value for name, (value, _) in values.items()}


def test_identical_masks_are_perfect() -> None:
    values = measure(FIRST, FIRST)
    assert [values[name] for name in OVERLAPS] == [1.0] * len(OVERLAPS)
    assert [values[name] for name in DISTANCES] == [0.0] * 4
    assert values["volume_difference"] == 0


@pytest.mark.parametrize("name", OVERLAPS + DISTANCES)
def test_overlap_and_distance_are_symmetric(name: str) -> None:
    assert measure(FIRST, SECOND)[name] == pytest.approx(measure(SECOND, FIRST)[ONE_SIDED.get(name, name)])


@pytest.mark.parametrize("name", OVERLAPS + DISTANCES)
def test_both_empty_is_nothing_to_measure(name: str) -> None:
    assert math.isnan(measure(EMPTY, EMPTY)[name])


@pytest.mark.parametrize(("predicted", "reference"), [(EMPTY, FIRST), (FIRST, EMPTY)], ids=["missed", "spurious"])
def test_one_empty_is_the_worst(predicted: np.ndarray, reference: np.ndarray) -> None:
    values = measure(predicted, reference)
    assert [values[name] for name in OVERLAPS] == [0.0] * len(OVERLAPS)
    assert [values[name] for name in DISTANCES] == [math.inf] * 4


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_are_in_mm(name: str) -> None:
    doubled = tuple(2 * mm for mm in SPACING)
    assert measure(FIRST, SECOND, doubled)[name] == pytest.approx(2 * measure(FIRST, SECOND)[name])


@pytest.mark.parametrize("name", NAMES)
def test_empty_margin_changes_nothing(name: str) -> None:
    padded = [np.pad(mask, 3) for mask in (FIRST, SECOND)]
    assert measure(*padded)[name] == pytest.approx(measure(FIRST, SECOND)[name])
