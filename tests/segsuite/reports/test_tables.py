from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from segsuite.errors import VolumeError
from segsuite.reports.tables import notes_on, read_evaluation, summarise, write_summary

HEADER = "case,patient_id,label_index,label_name,metric,value,unit,status\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        "a,P1,1,x,dice,0.9,1,ok", "a,P1,1,x,hd95,2,mm,ok",
        "b,P2,1,x,dice,0,1,missed", "b,P2,1,x,hd95,inf,mm,missed",
        "c,P3,1,x,dice,nan,1,empty", "c,P3,1,x,hd95,nan,mm,empty",
        "d,P4,1,x,dice,0,1,no prediction", "d,P4,1,x,hd95,inf,mm,no prediction",
    ]  # fmt: skip
    (tmp_path / "metrics_per_case.csv").write_text(HEADER + "\n".join(rows))
    cases = ["case,patient_id,diagonal_mm,predicted,reference,image,reason"]
    cases += [f"{c},P,{mm},,r,,{'gone' if c == 'd' else ''}" for c, mm in zip("abcd", (100, 80, 70, 60), strict=True)]
    (tmp_path / "cases.csv").write_text("\n".join(cases))
    return tmp_path


def test_a_miss_costs_the_diagonal_and_is_counted(folder: Path) -> None:
    summary = summarise(*read_evaluation(folder))
    hd95, dice = summary["structures"]["x"]["hd95"], summary["structures"]["x"]["dice"]
    assert hd95["mean"] == pytest.approx((2 + 80 + 60) / 3)
    assert dice["mean"] == pytest.approx(0.3)
    assert (dice["n_scored"], dice["n_expected"], dice["n_missed"], dice["n_empty"]) == (3, 4, 2, 1)
    assert (summary["n_expected"], summary["n_without_prediction"]) == (4, 1)


def test_missing_a_structure_never_improves_a_mean(folder: Path) -> None:
    """Take the honest case's structure away: every mean gets worse."""
    measurements, cases = read_evaluation(folder)
    before = summarise(measurements, cases)["mean"]
    missed = measurements.copy()
    missed.loc[missed["case"] == "a", "value"] = [0.0, float("inf")]
    missed.loc[missed["case"] == "a", "status"] = "missed"
    after = summarise(missed, cases)["mean"]
    assert after["dice"] < before["dice"]
    assert after["hd95"] > before["hd95"]


def test_summary_is_json_without_nan(folder: Path) -> None:
    write_summary(folder)
    assert "NaN" not in (folder / "metrics_summary.json").read_text()
    assert json.loads((folder / "metrics_summary.json").read_text())["mean"]["dice"] == pytest.approx(0.3)


def test_numeric_case_ids_stay_text(folder: Path) -> None:
    text = (folder / "metrics_per_case.csv").read_text().replace("\na,", "\n007,")
    (folder / "metrics_per_case.csv").write_text(text)
    assert "007" in set(pd.Series(read_evaluation(folder)[0]["case"]))


def test_no_evaluation_there(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"must hold metrics_per_case.csv, got none. Run `segsuite evaluate` first"):
        read_evaluation(tmp_path)


def test_what_files_held_beside_the_structures_is_said_once(folder: Path) -> None:
    cases = read_evaluation(folder)[1]
    cases["undeclared"] = ["predicted 255: 7 voxels", "predicted 255: 9 voxels; reference 5: 1 voxels", "", ""]
    cases["notes"] = ["", "units were converted", "", "units were converted"]
    assert notes_on(cases) == [
        "predictions hold 255, which is no declared structure and is not scored: cases a, b",
        "references hold 5, which is no declared structure and is not scored: case b",
        "cases b, d: units were converted",
    ]


def test_a_broken_reference_is_counted_and_leaves_the_mean(folder: Path) -> None:
    measurements, cases = read_evaluation(folder)
    measurements.loc[measurements["case"] == "d", ["value", "status"]] = [float("nan"), "no reference"]
    cases.loc[cases["case"] == "d", "missing"] = "reference"
    summary = summarise(measurements, cases)
    dice = summary["structures"]["x"]["dice"]
    assert (dice["mean"], dice["n_scored"], dice["n_missed"], dice["n_without_reference"]) == (pytest.approx(0.45), 2, 1, 1)
    assert (summary["n_without_prediction"], summary["n_without_reference"]) == (0, 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cases.csv", b"case,site\na,A\n", "no column `patient_id`"),
        ("cases.csv", b"\xff\xfe\x01", "utf-8"),
        ("metrics_per_case.csv", b"", "No columns"),
        ("metrics_per_case.csv", (HEADER + "a,P1,1,x,dice,much,1,ok\n").encode(), "much"),
    ],
)
def test_tables_that_are_none_are_named(folder: Path, name: str, content: bytes, said: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(VolumeError, match=rf"{name} must be a table as `segsuite evaluate` writes it, got: .*{said}"):
        read_evaluation(folder)
