from __future__ import annotations

import numpy as np
import pytest

from pipelines.cohort_contrast.scoring import Reference, conformal_p, nearest, outlying_distance


def test_the_conformal_p_counts_healthy_subjects_that_score_as_high() -> None:
    healthy = np.array([1.0, 2.0, 3.0])
    assert conformal_p(2.5, healthy) == pytest.approx(2 / 4)
    assert conformal_p(9.0, healthy) == pytest.approx(1 / 4)
    assert conformal_p(0.0, healthy) == 1
    draw = np.random.default_rng(0)
    rare = np.mean([conformal_p(scores[0], scores[1:]) <= 0.1 for scores in draw.normal(size=(2000, 40))])
    assert rare == pytest.approx(0.1, abs=0.025)


def test_nearest_subjects_are_different_and_never_oneself() -> None:
    rows = np.array([[0.0], [0.1], [0.2], [5.0]])
    assert nearest(np.array([0.0]), rows, ["a", "b", "b", "c"], subject="a") == ["b", "c"]


def test_a_report_leaves_oneself_out_and_marks_what_is_unlike_training() -> None:
    draw = np.random.default_rng(1)
    common = draw.normal(size=(50, 2))
    names = [f"t{i}" for i in range(50)]
    reference = Reference(np.array([0.1, 9.0]), ["h", "me"], common, common, names, outlying_distance(common, names))
    report = reference.report(1.0, common[0], common[0], subject="me")
    assert report["p"] == pytest.approx(1 / 2)
    assert report["unlike_training"] is False
    far = reference.report(1.0, np.array([50.0, 50.0]), common[0])
    assert far["unlike_training"] is True
    assert far["percentile"] == 50
    nobody = Reference(np.zeros(0), [], common, common, names, 1.0).report(1.0, common[0], common[0])
    assert (nobody["p"], nobody["percentile"], nobody["z"]) == (None, None, None)


def test_what_is_outlying_is_learned_from_other_subjects() -> None:
    rows = np.array([[0.0], [0.0], [1.0], [3.0]])
    # nearest of another subject: 1, 1, 1, 2
    found = outlying_distance(rows, ["a", "a", "b", "c"])
    assert found == pytest.approx(np.quantile([1, 1, 1, 2], 0.99))
    assert outlying_distance(rows, ["a"] * 4) == np.inf
