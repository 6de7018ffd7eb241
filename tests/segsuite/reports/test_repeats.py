from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from segsuite.errors import ManifestError
from segsuite.reports.repeats import compare_repeats

Tables = tuple[pd.DataFrame, pd.DataFrame]


def trainings(means: list[float], metric: str = "dice", structure: str = "x") -> list[Tables]:
    """One evaluation of three cases per training."""
    cases = ["a", "b", "c"]
    found = []
    for mean in means:
        columns = {"case": cases, "patient_id": cases, "label_name": structure, "metric": metric, "status": "ok"}
        rows = pd.DataFrame({**columns, "value": [mean - 0.1, mean, mean + 0.1]})
        found.append((rows, pd.DataFrame({"case": cases, "diagonal_mm": 100.0})))
    return found


def compare(first: list[float], second: list[float], metric: str = "dice") -> tuple[str, tuple[float, float, float]]:
    found = compare_repeats(trainings(first, metric), trainings(second, metric), metric=metric, names=("A", "B"))[0]
    return found.sentence, (found.difference.mean, found.difference.low, found.difference.high)


def test_a_difference_within_seed_noise_is_called_that() -> None:
    sentence, _ = compare([0.70, 0.74, 0.78], [0.72, 0.75, 0.81])
    assert sentence.startswith("x: +0.02 dice is within seed noise (SD 0.046 between seeds")


def test_a_clear_one_is_claimed_either_way() -> None:
    assert compare([0.70, 0.71, 0.72], [0.80, 0.81, 0.82])[0].startswith("x: B is better by 0.1 dice, beyond seed noise")
    assert compare([4.0, 4.1, 4.2], [6.0, 6.1, 6.2], "hd95")[0].startswith("x: A is better by 2 hd95")


def test_interval_is_welchs() -> None:
    first, second = [0.70, 0.74, 0.75, 0.71], [0.78, 0.86, 0.80]
    _, (mean, low, high) = compare(first, second)
    expected = stats.ttest_ind(second, first, equal_var=False).confidence_interval()
    assert mean == pytest.approx(np.mean(second) - np.mean(first))
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_one_training_tells_nothing() -> None:
    sentence, (_, low, _) = compare([0.7], [0.8, 0.8])
    assert "1 and 2 trainings cannot tell it from the seed" in sentence
    assert math.isnan(low)


def test_nothing_in_common() -> None:
    with pytest.raises(ManifestError, match="got none in common"):
        compare_repeats(trainings([0.5]), trainings([0.5], structure="y"), metric="dice", names=("A", "B"))
