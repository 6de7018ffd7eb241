from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from segsuite.reports import statistics
from segsuite.reports.statistics import bca_levels, holm_adjusted, mean_with_interval, median_with_interval


def test_interval_of_independent_values_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(10, 2, 200)
    interval = mean_with_interval(list(values), [str(n) for n in range(200)])
    half = 1.96 * values.std() / np.sqrt(200)
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.1)


def test_repeated_scans_of_a_patient_do_not_narrow_it() -> None:
    values = np.random.default_rng(0).normal(10, 2, 30)
    once = mean_with_interval(list(values), [str(n) for n in range(30)])
    thrice = mean_with_interval(list(np.repeat(values, 3)), [str(n) for n in np.repeat(np.arange(30), 3)])
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)


def test_interval_covers_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        values = draw.normal(0, 1, 25)
        interval = mean_with_interval(list(values), [str(n) for n in range(25)])
        hits += interval.low <= 0 <= interval.high
    assert 86 <= hits <= 99


def test_one_patient_is_a_point_and_none_is_nothing() -> None:
    assert mean_with_interval([1.0, 3.0], ["a", "a"]).low == 2.0
    assert math.isnan(mean_with_interval([], []).mean)


def test_bca_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).lognormal(0, 1, 40)
    peer = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(0)).confidence_interval
    ours = mean_with_interval(list(values), [str(n) for n in range(40)])
    assert ours.low == pytest.approx(peer.low, rel=0.03)
    assert ours.high == pytest.approx(peer.high, rel=0.03)


def test_symmetric_unbiased_resamples_give_the_percentile_interval() -> None:
    resampled = np.linspace(-1, 1, 2001)
    assert bca_levels(resampled, 0.0, np.array([-0.1, 0.0, 0.1])) == pytest.approx((0.025, 0.975), abs=1e-3)


def test_holm_worked_by_hand() -> None:
    assert holm_adjusted([0.01, math.nan, 0.04, 0.03])[::2] == pytest.approx([0.03, 0.06])
    assert holm_adjusted([0.01, math.nan, 0.04, 0.03])[3] == pytest.approx(0.06)
    assert math.isnan(holm_adjusted([0.01, math.nan])[1])


class TestMedian:
    def test_interval_covers_as_often_as_it_says(self) -> None:
        draw = np.random.default_rng(3)
        hits = 0
        for _ in range(100):
            values = draw.exponential(1, 25)
            interval = median_with_interval(list(values), [str(n) for n in range(25)])
            hits += interval.low <= np.log(2) <= interval.high
        assert 86 <= hits <= 99

    def test_resampled_medians_by_a_slow_second_implementation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Four cases of three patients; weights written out as repeated cases."""
        weights = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0], [0, 0, 3], [1, 2, 0]], dtype=float)
        monkeypatch.setattr(statistics, "patient_weights", lambda *_, **__: iter([weights]))
        seen: list[np.ndarray] = []
        monkeypatch.setattr(statistics, "bca_levels", lambda resampled, *_: seen.append(resampled) or (0.1, 0.9))
        values, patients = [0.9, 0.3, 0.7, 0.5], ["a", "b", "b", "c"]
        median_with_interval(values, patients)
        expected = [
            np.median([v for v, p in zip(values, patients, strict=True) for _ in range(int(row["abc".index(p)]))])
            for row in weights
        ]
        np.testing.assert_allclose(seen[0], expected)

    def test_many_patients_are_drawn_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = list(np.random.default_rng(4).normal(0, 1, 50))
        patients = [str(n) for n in range(50)]
        whole = median_with_interval(values, patients), mean_with_interval(values, patients)
        monkeypatch.setattr(statistics, "MOST_WEIGHTS", 50 * 300)
        parts = median_with_interval(values, patients), mean_with_interval(values, patients)
        for one, other in zip(whole, parts, strict=True):
            assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high), abs=1e-9)

    def test_even_count_one_patient_and_none(self) -> None:
        assert median_with_interval([1.0, 3.0], ["a", "b"]).mean == 2.0
        point = median_with_interval([1.0, 2.0, 9.0], ["a", "a", "a"])
        assert (point.mean, point.low, point.high) == (2.0, 2.0, 2.0)
        assert math.isnan(median_with_interval([], []).mean)
