from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from segsuite.reports.figures import agreement_of_volumes, limits_of_agreement, overlap_against_volume, reliability, spread


def measurements(n_structures: int = 2, n_cases: int = 6) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = []
    for structure in range(n_structures):
        for case in range(n_cases):
            reference = draw.uniform(5, 20)
            values = {"dice": 0.9 - 0.05 * structure, "hd95": draw.uniform(1, 9), "reference_volume": reference}
            values["volume"] = reference + 1 + structure
            units = {"hd95": "mm", "volume": "ml", "reference_volume": "ml"}
            rows += [(f"c{case}", f"s{structure}", m, value, units.get(m, "1")) for m, value in values.items()]
    return pd.DataFrame(rows, columns=["case", "label_name", "metric", "value", "unit"])


def test_limits_worked_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard deviation 1."""
    assert limits_of_agreement([11, 22, 33], [10, 20, 30]) == pytest.approx((2, 2 - 1.96, 2 + 1.96))
    mean, low, high = limits_of_agreement([3], [1])
    assert mean == 2
    assert math.isnan(low)
    assert math.isnan(high)


def test_every_case_is_a_dot_and_a_missed_one_is_not_drawn() -> None:
    table = measurements()
    table.loc[(table["metric"] == "hd95") & (table["case"] == "c0"), "value"] = math.inf
    figure = spread(table, ["dice", "hd95"])
    dots = [sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == ".") for axes in figure.axes]
    assert dots == [12, 10]
    assert figure.axes[1].get_title() == "hd95 (mm)"


def test_bland_altman_draws_bias_and_limits() -> None:
    axes = agreement_of_volumes(measurements()).axes
    assert [panel.get_title() for panel in axes[:2]] == ["s0", "s1"]
    assert [line.get_ydata()[0] for line in axes[1].lines[1:]] == pytest.approx([2, 2, 2])
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), 1)


def test_of_many_structures_the_worst_get_a_panel() -> None:
    shown = [axes.get_title() for axes in overlap_against_volume(measurements(12)).axes]
    assert [title for title in shown if title] == [f"s{n}" for n in range(4, 12)]


def test_reliability_pools_all_cases() -> None:
    columns = ["case", "label_name", "bin", "n_voxels", "probability", "positives"]
    rows = [("a", "x", 9, 10, 9.5, 9), ("b", "x", 9, 30, 28.5, 27), ("a", "x", 0, 0, 0, 0)]
    line = reliability(pd.DataFrame(rows, columns=columns)).axes[0].lines[1]
    assert line.get_xdata() == pytest.approx([0.95])
    assert line.get_ydata() == pytest.approx([0.9])
    assert line.get_label() == "x (error 0.050)"
