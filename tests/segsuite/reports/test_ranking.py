from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from segsuite.errors import ManifestError
from segsuite.reports.ranking import rank_evaluations, shared_values

Tables = tuple[pd.DataFrame, pd.DataFrame]


def evaluation(values: dict[str, list[float]], metric: str = "dice", patients: list[str] | None = None) -> Tables:
    parts = []
    for structure, numbers in values.items():
        cases = [f"c{n}" for n in range(len(numbers))]
        columns = {"case": cases, "patient_id": patients or cases, "label_name": structure, "metric": metric, "value": numbers}
        columns["status"] = "ok"
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts), pd.DataFrame({"case": cases, "diagonal_mm": 100.0})


@pytest.mark.slow
def test_clear_order_is_stable_and_noise_is_not() -> None:
    base = np.random.default_rng(0).uniform(0.6, 0.9, 40)
    clear = rank_evaluations([evaluation({"x": list(base + gain)}) for gain in (0, 0.05, 0.1)], metric="dice", names="abc")
    assert [(ranked.name, ranked.rank, ranked.shares[0]) for ranked in clear] == [("c", 1, 1.0), ("b", 2, 0.0), ("a", 3, 0.0)]
    assert clear[0].tau == 1
    noisy = [evaluation({"x": list(np.random.default_rng(seed).uniform(0.6, 0.9, 40))}) for seed in (1, 2, 3)]
    ranked = rank_evaluations(noisy, metric="dice", names="abc")
    assert ranked[0].tau < 0.8
    assert sum(entry.shares[0] for entry in ranked) == pytest.approx(1, abs=0.01)


def test_distances_rank_the_other_way_and_a_miss_costs_the_diagonal() -> None:
    tables = [evaluation({"x": [1.0, 1.0, 1.0]}, "hd95"), evaluation({"x": [0.5, 0.5, np.inf]}, "hd95")]
    ranked = rank_evaluations(tables, metric="hd95", names=["whole", "missing one"])
    assert [(entry.name, entry.mean) for entry in ranked] == [("whole", 1.0), ("missing one", pytest.approx(101 / 3))]


def test_mean_is_over_structures_and_then_equal_models_share_a_rank() -> None:
    """One structure has four cases, the other two: each counts the same."""
    first = evaluation({"x": [0.8] * 4, "y": [0.4, 0.4, np.nan, np.nan]})
    ranked = rank_evaluations([first, first], metric="dice", names=["a", "b"])
    assert [entry.mean for entry in ranked] == pytest.approx([0.6, 0.6])
    assert [entry.rank for entry in ranked] == [1, 1]


def test_shares_by_a_slow_second_implementation() -> None:
    draw = np.random.default_rng(5)
    patients = ["p", "p", "q", "r", "s", "s"]
    values = draw.uniform(0.5, 0.9, (2, 6))
    tables = [evaluation({"x": list(row)}, patients=patients) for row in values]
    ranked = {entry.name: entry for entry in rank_evaluations(tables, metric="dice", names="ab")}
    wins = 0
    names = sorted(set(patients))
    for _ in range(4000):
        chosen = [case for name in draw.choice(names, len(names)) for case, owner in enumerate(patients) if owner == name]
        wins += values[0, chosen].mean() >= values[1, chosen].mean()
    assert ranked["a"].shares[0] == pytest.approx(wins / 4000, abs=0.03)


def test_tau_is_kendalls() -> None:
    assert stats.kendalltau([1, 2, 3], [1, 3, 2]).statistic == pytest.approx(1 / 3)


def test_rightly_empty_is_perfect_and_empty_everywhere_is_left_out() -> None:
    tables = [evaluation({"x": [np.nan, np.nan, 0.5]}), evaluation({"x": [0.0, np.nan, 0.6]})]
    values = shared_values(tables, metric="dice")
    assert values[["0", "1"]].to_numpy().tolist() == [[1.0, 0.0], [0.5, 0.6]]


def test_nothing_in_common() -> None:
    with pytest.raises(ManifestError, match="got none in common"):
        rank_evaluations([evaluation({"x": [0.5]}), evaluation({"y": [0.5]})], metric="dice", names="ab")
