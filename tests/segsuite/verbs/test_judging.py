from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from segsuite.errors import SettingsError
from segsuite.verbs.judging import compare
from segsuite.verbs.runs import evaluate


@pytest.fixture
def two_runs(cohort_folder: Path, tmp_path: Path) -> list[Path]:
    """The references as predictions, and the same with one mask left out."""
    for name in ("all", "less"):
        shutil.copytree(cohort_folder / "labels", tmp_path / name / "predictions")
    (tmp_path / "less" / "predictions" / "phantom_0002.nii.gz").unlink()
    runs = [tmp_path / "all", tmp_path / "less"]
    for run in runs:
        evaluate(run / "predictions", cohort_folder / "manifest.json", run / "evaluation")
    return runs


def test_each_is_compared_with_the_first(two_runs: list[Path]) -> None:
    compared = compare(two_runs, metrics=["dice", "hd95"])
    assert {name for name, _ in compared} == {"less"}
    dice = next(c for name, c in compared if name.endswith("less") and c.metric == "dice")
    assert (dice.n_cases, dice.n_worse, dice.n_better) == (6, 1, 0)
    assert dice.difference.mean == pytest.approx(-1 / 6)
    hd95 = next(c for name, c in compared if name.endswith("less") and c.metric == "hd95")
    assert hd95.difference.mean > 10


def test_one_is_not_enough(two_runs: list[Path]) -> None:
    with pytest.raises(SettingsError, match="at least two evaluations, got 1"):
        compare(two_runs[:1], metrics=["dice"])
