from __future__ import annotations

import math

import numpy as np
import pytest

from segsuite.metrics.probes import area_under_curve, probe_attribute, shared_variance, total_deviation


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    kind = draw.integers(3, size=n)
    return np.eye(3)[kind] * 4 + draw.normal(size=(n, 3)), kind.astype(float)


def test_a_representation_that_knows_scores_high_and_one_that_does_not_at_chance() -> None:
    (x, y), (x2, y2) = rows(300, 0), rows(200, 1)
    knows = probe_attribute(x, y, x2, y2)
    assert knows.kind == "classes"
    assert knows.score > 0.95
    assert knows.chance == pytest.approx(1 / 3)
    noise = np.random.default_rng(2).normal(size=(500, 3))
    assert abs(probe_attribute(noise[:300], y, noise[300:], y2).scaled) < 0.2
    shuffled = np.random.default_rng(3).permutation(y)
    assert abs(probe_attribute(x, shuffled, x2, y2).scaled) < 0.25


def test_values_are_judged_by_r2_and_unknown_rows_are_left_out() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(100, 2))
    y = x @ [1.0, 2.0] + 0.01 * draw.normal(size=100)
    y[:10] = math.nan
    found = probe_attribute(x[:60], y[:60], x[60:], y[60:])
    assert found.kind == "value"
    assert found.n_training == 50
    assert found.score > 0.99
    assert found.score == pytest.approx(1 - found.correct.mean())


def test_texts_are_classes_and_classes_that_training_lacks_do_not_count() -> None:
    x = np.array([[0.0], [0.1], [5.0], [5.1]] * 3)
    known = np.array(["a", "a", "b", "b"] * 3)
    truth = np.array(["a", "c", "b", "", "a", "a", "b", "b", "a", "a", "b", "b"])
    found = probe_attribute(x, known, x, truth)
    assert found.rows.tolist() == [0, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert found.score == 1
    with pytest.raises(ValueError, match="known of at least 3 rows on each side, got 12 and 1"):
        probe_attribute(x, known, x, np.array(["a", *[""] * 11]))
    with pytest.raises(ValueError, match="at least two classes on each side"):
        probe_attribute(x, np.array(["a"] * 12), x, np.array(["a"] * 12))


def test_area_counts_pairs() -> None:
    scores, groups = np.array([1.0, 2.0, 2.0, 3.0]), np.array([0, 0, 1, 1])
    assert area_under_curve(scores, groups) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert math.isnan(area_under_curve(scores, np.zeros(4)))


def test_shared_variance_is_one_of_linear_maps_and_about_zero_of_noise() -> None:
    draw = np.random.default_rng(0)
    x, noise = draw.normal(size=(200, 3)), draw.normal(size=(200, 2))
    y = x @ draw.normal(size=(3, 2))
    assert shared_variance((x[:100], y[:100]), (x[100:], y[100:])) > 0.999
    assert shared_variance((x[:100], noise[:100]), (x[100:], noise[100:])) < 0.05


def test_total_deviation_is_zero_only_of_a_perfect_separation() -> None:
    (x, y), (x2, y2) = rows(300, 0), rows(200, 1)
    good = probe_attribute(x, y, x2, y2)
    assert total_deviation([good], []) == pytest.approx(1 - good.scaled)
    assert total_deviation([good], [good]) == pytest.approx(1)
    assert total_deviation([good], [], ceilings=[good.score]) == pytest.approx(0)
