from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from segsuite.errors import ManifestError
from segsuite.reports.comparison import compare_evaluations

Tables = tuple[pd.DataFrame, pd.DataFrame]


def evaluation(values: list[float], metric: str = "dice", structure: str = "x") -> Tables:
    cases = [f"c{n}" for n in range(len(values))]
    measurements = pd.DataFrame(
        {
            "case": cases,
            "patient_id": cases,
            "label_name": structure,
            "metric": metric,
            "value": values,
            "unit": "1",
            "status": "ok",
        }
    )
    return measurements, pd.DataFrame({"case": cases, "patient_id": cases, "diagonal_mm": 100.0, "reason": ""})


BASE = list(np.random.default_rng(0).uniform(0.6, 0.9, 30))


def compare(first: Tables, second: Tables, metric: str = "dice") -> str:
    return compare_evaluations(first, second, metric=metric, names=("A", "B"))[0].sentence


def test_clear_gain_is_claimed_and_noise_is_not() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 30)
    assert compare(evaluation(BASE), evaluation(list(np.array(BASE) + 0.03 + noise))).startswith("x: B is better by 0.0")
    assert "no difference in dice can be claimed" in compare(
        evaluation(BASE), evaluation(list(np.array(BASE) + noise - noise.mean()))
    )


def test_lower_is_better_for_distances() -> None:
    first, second = evaluation([5.0 + n / 10 for n in range(30)], "hd95"), evaluation([4.0 + n / 10 for n in range(30)], "hd95")
    assert compare(first, second, "hd95").startswith("x: B is better by 1 hd95")
    assert compare(second, first, "hd95").startswith("x: A is better by 1 hd95")


def test_miss_costs_the_diagonal_and_rightly_empty_is_perfect() -> None:
    """Differences -97, 100 and 0; the second case is empty in both."""
    first, second = evaluation([np.inf, np.nan, np.nan, 2.0], "hd95"), evaluation([3.0, np.nan, np.inf, 2.0], "hd95")
    result = compare_evaluations(first, second, metric="hd95", names=("A", "B"))[0]
    assert result.n_cases == 3
    assert result.difference.mean == pytest.approx((-97 + 100 + 0) / 3)
    assert (result.n_better, result.n_worse) == (1, 1)


def test_wins_and_few_patients() -> None:
    result = compare_evaluations(evaluation([0.5, 0.6, 0.7]), evaluation([0.6, 0.5, 0.7]), metric="dice", names=("A", "B"))[0]
    assert (result.n_better, result.n_worse, result.n_cases) == (1, 1, 3)
    assert "only 3 patients" in result.sentence


def test_holm_counts_the_structures() -> None:
    def two(shift: float) -> Tables:
        parts = [evaluation([value + shift for value in BASE], structure=name)[0] for name in ("x", "y")]
        return pd.concat(parts), evaluation(BASE)[1]

    results = compare_evaluations(two(0), two(0.01), metric="dice", names=("A", "B"))
    assert [r.p_adjusted for r in results] == pytest.approx([2 * r.p_value for r in results])


def test_nothing_in_common() -> None:
    with pytest.raises(ManifestError, match="must share cases, structures and the metric `hd95`, got none"):
        compare(evaluation(BASE), evaluation(BASE), "hd95")
