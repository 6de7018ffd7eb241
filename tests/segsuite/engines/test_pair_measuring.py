from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from segsuite.engines.pair_measuring import measured, upwards, without_reference
from segsuite.engines.pairs import Pair
from segsuite.metrics.per_case import Scoring
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

PAIR = Pair("c", "c", Path("r.nii"), None)
SCORING = Scoring({1: "a", 2: "b"}, instance_labels=(1,))


def reference() -> Volume:
    labels = np.zeros((6, 6, 6), dtype=np.uint8)
    labels[1:4] = 1
    return Volume(labels[None], Grid(labels.shape, np.eye(4)))


def test_nothing_predicted_is_worst_also_where_the_reference_is_empty() -> None:
    rows, _ = measured(PAIR, None, reference(), SCORING, probabilities=True)
    found = {(row.name, row.metric): row.value for row in rows}
    assert {row.status for row in rows} == {"no prediction"}
    assert found["b", "dice"] == 0
    assert math.isinf(found["b", "hd95"])
    assert found["a", "brier"] == found["b", "ece"] == 1


def test_without_a_reference_there_is_no_number_but_the_same_rows() -> None:
    rows = without_reference(SCORING, probabilities=True)
    whole, _ = measured(PAIR, None, reference(), SCORING, probabilities=True)
    assert [(row.name, row.metric, row.unit) for row in rows] == [(row.name, row.metric, row.unit) for row in whole]
    assert all(math.isnan(row.value) and row.status == "no reference" for row in rows)


def test_which_axis_runs_upwards() -> None:
    grid = Grid((4, 5, 6), np.array([[0, 0, 2.0, 0], [1, 0, 0, 0], [0, -3, 0, 0], [0, 0, 0, 1]]))
    assert upwards(grid, SCORING) == (1, False)
