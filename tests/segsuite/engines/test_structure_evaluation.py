from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segsuite.engines.evaluation import EvaluatedCase, evaluate_pairs
from segsuite.engines.pairs import Pair
from segsuite.errors import VolumeError
from segsuite.metrics.per_case import Scoring

Write = Callable[..., Path]
SHAPE = (12, 12, 12)
SCORING = Scoring({1: "liver", 2: "tumour"})


def box(low: int, high: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[low:high, 2:10, 2:10] = 1
    return mask


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float(np.logical_and(a, b).sum()) / float(a.astype(bool).sum() + b.astype(bool).sum())


LIVER, TUMOUR, SHIFTED = box(1, 9), box(3, 5), box(2, 10)


@pytest.fixture
def pair(tmp_path: Path, write_nifti: Write) -> Pair:
    """The tumour lies inside the liver: one label map could not hold both."""
    masks = {"r": {"liver": LIVER, "tumour": TUMOUR}, "p": {"liver": SHIFTED, "tumour": TUMOUR * 255}}
    files = {
        side: {name: write_nifti(tmp_path / side / f"{name}.nii.gz", mask) for name, mask in parts.items()}
        for side, parts in masks.items()
    }
    return Pair("c", "c", tmp_path / "r", tmp_path / "p", reference_files=files["r"], predicted_files=files["p"])


def measured(pair: Pair, scoring: Scoring = SCORING, **more: bool) -> EvaluatedCase:
    found: list[EvaluatedCase] = []
    evaluate_pairs([pair], scoring, on_case=found.append, **more)  # type: ignore[arg-type]
    return found[0]


def scores(case: EvaluatedCase, metric: str = "dice") -> dict[str, float]:
    return {m.name: m.value for m in case.measurements if m.metric == metric}


def test_structures_may_overlap(pair: Pair) -> None:
    case = measured(pair)
    assert scores(case) == pytest.approx({"liver": dice(LIVER, SHIFTED), "tumour": 1.0})
    assert (case.reason, case.missing, case.diagonal_mm) == ("", "", pytest.approx(12 * 3**0.5))


def test_thirds_lie_between_the_ends_of_all_structures(pair: Pair) -> None:
    """Along i: the liver spans 1 to 8, so the upper third is 6 to 8, where the tumour is not; by itself it would be."""
    case = measured(pair, replace(SCORING, thirds=True, body_axis=0))
    upper = scores(case, "dice_upper_third")
    assert np.isnan(upper["tumour"])
    assert 0 < upper["liver"] <= 1


def test_a_label_map_on_either_side(pair: Pair, tmp_path: Path, write_nifti: Write) -> None:
    both = write_nifti(tmp_path / "whole.nii.gz", np.where(TUMOUR > 0, 2, LIVER).astype(np.uint8))
    case = measured(replace(pair, predicted=both, predicted_files={}))
    assert scores(case) == pytest.approx({"liver": dice(LIVER, (LIVER > 0) & (TUMOUR == 0)), "tumour": 1.0})
    case = measured(replace(pair, reference=both, reference_files={}))
    assert scores(case) == pytest.approx({"liver": dice(SHIFTED, (LIVER > 0) & (TUMOUR == 0)), "tumour": 1.0})


def test_a_file_that_is_not_there_or_broken_costs_its_structure_alone(pair: Pair) -> None:
    pair.predicted_files["tumour"].unlink()
    case = measured(pair)
    assert scores(case) == pytest.approx({"liver": dice(LIVER, SHIFTED), "tumour": 0.0})
    assert case.missing == "part"
    assert case.reason.startswith("no prediction of tumour: ")
    pair.reference_files["liver"].write_bytes(b"\x1f\x8b damaged")
    case = measured(pair)
    assert {m.name: m.status for m in case.measurements} == {"liver": "no reference", "tumour": "no prediction"}
    assert case.missing == "part"
    assert "no reference of liver: " in case.reason


def test_a_structure_without_a_file_is_missed_and_a_file_without_a_structure_is_said(pair: Pair) -> None:
    files = {"liver": pair.predicted_files["liver"], "aorta": pair.predicted_files["tumour"]}
    case = measured(replace(pair, predicted_files=files))
    assert scores(case)["tumour"] == 0
    assert "no prediction of tumour: there is no file of this structure in" in case.reason
    assert case.undeclared == ["predicted file aorta"]


def test_nothing_predicted_is_the_case_missed(pair: Pair) -> None:
    case = measured(replace(pair, predicted=None, predicted_files={}, reason="no prediction of this name"))
    assert (case.missing, case.reason) == ("prediction", "no prediction of liver, tumour: no prediction of this name")
    assert scores(case) == {"liver": 0.0, "tumour": 0.0}


def test_probabilities_need_one_mask(pair: Pair) -> None:
    with pytest.raises(VolumeError, match="--probabilities must have masks of all structures"):
        measured(pair, probabilities=True)
