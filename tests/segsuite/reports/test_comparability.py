from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from segsuite.errors import ManifestError
from segsuite.reports.comparability import Evaluated, require_comparable

DEFINITION: dict[str, Any] = {
    "surface": "voxels", "tolerances_mm": [1.0, 2.0], "ignore_label": None, "least_iou": None, "size_edges_ml": None,
    "body_axis": None, "missing": "diagonal",
}  # fmt: skip


def evaluated(
    name: str, cases: str = "abc", structures: tuple[str, ...] = ("x",), volume: float = 12.0, **more: Any
) -> Evaluated:
    rows = [
        (case, structure, metric, value)
        for case in cases
        for structure in structures
        for metric, value in (("dice", 0.9), ("surface_dice_1mm", 0.8), ("reference_volume", volume))
    ]
    table = pd.DataFrame(rows, columns=["case", "label_name", "metric", "value"])
    return Evaluated(name, table, pd.DataFrame({"case": list(cases)}), {**DEFINITION, **more})


def test_alike_says_nothing() -> None:
    assert require_comparable([evaluated("A"), evaluated("B")], shared=False) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("surface", "area", "--surface voxels in A and area in B"),
        ("tolerances_mm", [3.0], "--tolerance 1, 2 in A and 3 in B"),
        ("regions", ["whole of 1+2"], "regions none in A and whole of 1\\+2 in B"),
        ("ignore_label", 9, "the ignored label none in A and 9 in B"),
        ("missing", "left out", "the rule for what is missing diagonal in A and left out in B"),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_another_definition_is_refused_by_name(key: str, value: object, said: str, shared: bool) -> None:
    with pytest.raises(ManifestError, match=f"must be defined alike.*{said}"):
        require_comparable([evaluated("A"), evaluated("B", **{key: value})], shared=shared)


def test_options_of_metrics_that_only_one_has_do_not_count() -> None:
    assert require_comparable([evaluated("A"), evaluated("B", least_iou=0.5)], shared=False) == []
    with pytest.raises(ManifestError, match=r"--least-iou 0.1 in A and 0.5 in B"):
        require_comparable([evaluated("A", least_iou=0.1), evaluated("B", least_iou=0.5)], shared=False)


def test_other_cases_and_structures_are_refused_or_left_out_on_demand() -> None:
    with pytest.raises(ManifestError, match="of the same cases.*B lacks c; A lacks d.*--shared"):
        require_comparable([evaluated("A"), evaluated("B", "abd")], shared=False)
    with pytest.raises(ManifestError, match="of the same structures.*B lacks y"):
        require_comparable([evaluated("A", structures=("x", "y")), evaluated("B")], shared=False)
    notes = require_comparable([evaluated("A"), evaluated("B", "ab")], shared=True)
    assert notes == ["only cases that both have are compared: B lacks c"]


def test_other_references_under_the_same_names_are_refused() -> None:
    with pytest.raises(ManifestError, match="other references in 3 cases, for example x of a with 12 ml in A and 13 ml in B"):
        require_comparable([evaluated("A"), evaluated("B", volume=13.0)], shared=True)


def test_an_earlier_version_is_said_and_checked_by_its_tables() -> None:
    old = replace(evaluated("B"), definition=None)
    notes = require_comparable([evaluated("A"), old], shared=False)
    assert "B does not say how its numbers are defined (an earlier version evaluated it)" in notes[0]
    table = old.measurements.replace("surface_dice_1mm", "surface_dice_3mm")
    with pytest.raises(ManifestError, match="--tolerance 1mm in A and 3mm in B"):
        require_comparable([evaluated("A"), replace(old, measurements=table)], shared=False)
