from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from segsuite.metrics.instances import (
    lesion_f1_score,
    lesion_precision_per_size,
    lesion_precision_score,
    lesion_recall_per_size,
    lesion_recall_score,
    match_instances,
    panoptic_quality_score,
)


def line(*voxels: int, length: int = 24) -> np.ndarray:
    mask = np.zeros((length, 1, 1), dtype=bool)
    mask[list(voxels)] = True
    return mask


#             0123456789...
# reference   XXXX..XX....X
# predicted   .XXX..X..XX..
REFERENCE, PREDICTED = line(0, 1, 2, 3, 6, 7, 12), line(1, 2, 3, 6, 9, 10)


def test_worked_by_hand() -> None:
    matches = match_instances(PREDICTED, REFERENCE, least_iou=0.5)
    assert matches.ious == pytest.approx((3 / 4, 1 / 2))
    assert (matches.n_false_positive, matches.n_false_negative) == (1, 1)
    assert lesion_precision_score(matches) == pytest.approx(2 / 3)
    assert lesion_recall_score(matches) == pytest.approx(2 / 3)
    assert lesion_f1_score(matches) == pytest.approx(2 / 3)
    assert panoptic_quality_score(matches) == pytest.approx((3 / 4 + 1 / 2) / 3)


def test_per_size_worked_by_hand() -> None:
    """Real objects of 4, 2 and 1 voxels, of which the first two are found; predicted ones of 3, 1 and 2, the last invented."""
    matches = match_instances(PREDICTED, REFERENCE, least_iou=0.5)
    assert (matches.reference_sizes, matches.is_found) == ((4, 2, 1), (True, True, False))
    assert (matches.predicted_sizes, matches.is_real) == ((3, 1, 2), (True, True, False))
    assert lesion_recall_per_size(matches, edges=[2, 4]) == [0, 1, 1]
    assert lesion_precision_per_size(matches, edges=[2, 4])[:2] == [1, 0.5]
    assert math.isnan(lesion_precision_per_size(matches, edges=[2, 4])[2])
    assert lesion_recall_per_size(matches, edges=[]) == pytest.approx([lesion_recall_score(matches)])


def test_one_side_without_objects_per_size() -> None:
    missed = match_instances(line(), REFERENCE, least_iou=0.5)
    assert lesion_recall_per_size(missed, edges=[2]) == [0, 0]
    assert all(math.isnan(value) for value in lesion_precision_per_size(missed, edges=[2]))


def test_threshold_decides_what_counts() -> None:
    assert match_instances(PREDICTED, REFERENCE, least_iou=0.6).ious == pytest.approx((3 / 4,))


def test_one_object_over_two_counts_once() -> None:
    matches = match_instances(line(*range(10)), line(0, 1, 2, 3, 6, 7, 8, 9), least_iou=0.1)
    assert (matches.n_predicted, matches.n_reference, matches.n_matched) == (1, 2, 1)


def test_matching_is_the_best_of_all_matchings() -> None:
    """A slow second implementation: try every assignment."""
    draw = np.random.default_rng(0)
    for _ in range(12):
        predicted, reference = draw.random((2, 9, 9, 1)) > 0.62
        matches = match_instances(predicted, reference, least_iou=0.2)
        parts_p, n_p = ndimage.label(predicted, np.ones((3, 3, 3)))
        parts_r, n_r = ndimage.label(reference, np.ones((3, 3, 3)))
        table = np.zeros((n_p, n_r))
        for a, b in itertools.product(range(n_p), range(n_r)):
            one, other = parts_p == a + 1, parts_r == b + 1
            iou = (one & other).sum() / (one | other).sum()
            table[a, b] = iou if iou >= 0.2 else 0
        small, large = sorted((n_p, n_r))
        square = table if n_p <= n_r else table.T
        assignments = itertools.permutations(range(large), small)
        best = max((sum(square[a, b] for a, b in enumerate(chosen)) for chosen in assignments), default=0)
        assert sum(matches.ious) == pytest.approx(best)


def test_empty_sides() -> None:
    nothing, something = line(), line(3)
    both = match_instances(nothing, nothing, least_iou=0.1)
    assert all(math.isnan(score(both)) for score in (lesion_f1_score, lesion_recall_score, panoptic_quality_score))
    for pair in ((nothing, something), (something, nothing)):
        matches = match_instances(*pair, least_iou=0.1)
        assert lesion_f1_score(matches) == lesion_precision_score(matches) == lesion_recall_score(matches) == 0
