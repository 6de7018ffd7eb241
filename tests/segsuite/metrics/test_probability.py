from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from segsuite.metrics.probability import N_BINS, Calibration, brier_score, calibration_of, expected_calibration_error


def drawn(seed: int, *, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and truths that come true with ``probability ** power``: calibrated where the power is 1."""
    draw = np.random.default_rng(seed)
    probability = draw.random((40, 30, 20))
    return probability, draw.random(probability.shape) < probability**power


def test_brier_is_sklearns() -> None:
    probability, truth = drawn(0, power=1.0)
    assert brier_score(probability, truth) == pytest.approx(brier_score_loss(truth.ravel(), probability.ravel()))


def test_error_by_a_slow_second_implementation() -> None:
    probability, truth = drawn(1, power=2.0)
    expected = 0.0
    for low in np.arange(N_BINS) / N_BINS:
        inside = (probability >= low) & (probability < low + 1 / N_BINS)
        expected += inside.mean() * abs(probability[inside].mean() - truth[inside].mean())
    assert expected_calibration_error(calibration_of(probability, truth)) == pytest.approx(expected, abs=1e-6)


def test_known_limits() -> None:
    honest, overconfident = (expected_calibration_error(calibration_of(*drawn(2, power=power))) for power in (1.0, 2.0))
    assert honest < 0.02
    # the integral of p - p^2 over [0, 1] is a sixth
    assert overconfident == pytest.approx(1 / 6, abs=0.02)


def test_counts_of_cases_add_up() -> None:
    first, second = drawn(3, power=1.5), drawn(4, power=1.5)
    parts = [calibration_of(*case) for case in (first, second)]
    summed = Calibration(
        *(getattr(parts[0], name) + getattr(parts[1], name) for name in ("n_voxels", "probability", "positives"))
    )
    whole = calibration_of(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    assert expected_calibration_error(summed) == pytest.approx(expected_calibration_error(whole))


def test_certain_and_right_is_perfect_and_half_precision_is_welcome() -> None:
    truth = np.arange(8).reshape(2, 2, 2) % 2 == 0
    certain = truth.astype(np.float16)
    assert brier_score(certain, truth) == 0
    assert expected_calibration_error(calibration_of(certain, truth)) == 0
    assert brier_score(1 - certain, truth) == 1


def test_nothing_to_measure() -> None:
    empty = np.zeros((0, 3, 3))
    assert math.isnan(brier_score(empty, empty > 0))
    assert math.isnan(expected_calibration_error(calibration_of(empty, empty > 0)))
