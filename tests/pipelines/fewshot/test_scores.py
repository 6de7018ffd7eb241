from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.fewshot.scores import gfss_scores, harmonic_mean, iou_per_class, session_scores


def test_perfect_prediction_is_one_everywhere() -> None:
    """I16."""
    iou = iou_per_class(np.diag([5, 3, 2]))
    scores = gfss_scores(
        dict(zip(("background", "liver", "kidney"), iou, strict=True)), novel=["kidney"], background="background"
    )
    assert (scores.base, scores.base_with_background, scores.novel, scores.total, scores.mean, scores.harmonic) == (1,) * 6


def test_four_pixels_by_hand_with_and_without_background() -> None:
    """I16: reference [[0, 1], [1, 2]], prediction [[0, 1], [0, 2]]: background 1/2, base 1/2, novel 1."""
    confusion = np.zeros((3, 3), dtype=int)
    for reference, predicted in ((0, 0), (1, 1), (1, 0), (2, 2)):
        confusion[reference, predicted] += 1
    iou = iou_per_class(confusion)
    assert iou.tolist() == [0.5, 0.5, 1.0]
    values = {"background": 0.9, "liver": 0.5, "kidney": 1.0}
    scores = gfss_scores(values, novel=["kidney"], background="background")
    assert scores.base == 0.5
    assert scores.base_with_background == pytest.approx(0.7)
    assert scores.total == pytest.approx(0.8)
    assert scores.mean == 0.75
    assert scores.harmonic == pytest.approx(2 / 3)


def test_class_in_neither_is_left_out() -> None:
    """I16."""
    assert math.isnan(iou_per_class(np.array([[4, 0], [0, 0]]))[1])
    scores = gfss_scores({"a": 0.8, "b": math.nan, "new": math.nan}, novel=["new"])
    assert scores.base == 0.8
    assert math.isnan(scores.novel)
    assert math.isnan(scores.harmonic)


def test_harmonic_mean_of_nothing_is_nothing() -> None:
    """I16."""
    assert harmonic_mean(0, 0) == 0
    assert harmonic_mean(0, 0.7) == 0
    assert harmonic_mean(0.5, 1) == pytest.approx(2 / 3)


def test_sums_of_published_aggregates() -> None:
    """The released table of POP: 16 base entries with background at 73.81, 5 new at 36.74, total 64.98."""
    values = {f"b{n}": 0.7381 for n in range(15)} | {"background": 0.7381} | {f"n{n}": 0.3674 for n in range(5)}
    total = gfss_scores(values, novel=[f"n{n}" for n in range(5)], background="background").total
    assert total == pytest.approx(0.6498, abs=5e-5)


def test_sessions_by_hand() -> None:
    sessions = [{"liver": 0.9}, {"liver": 0.9, "kidney": 0.6}, {"liver": 0.8, "kidney": 0.7, "spleen": 0.5}]
    found = session_scores(sessions, base=["liver"])
    assert found.last.novel == pytest.approx(0.6)
    assert found.averaged.base == pytest.approx((0.9 + 0.9 + 0.8) / 3)
    assert found.averaged.novel == pytest.approx(0.6)
    assert found.forgetting == pytest.approx({"liver": 0.1, "kidney": -0.1})
