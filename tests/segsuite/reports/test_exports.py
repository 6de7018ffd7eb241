from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from segsuite.reports.exports import as_latex, as_markdown, nnunet_summary, write_exports
from segsuite.reports.tables import summarise

VALUES = {"dice": (0.8, 0.6), "iou": (0.5, 0.3), "hd95": (2.0, 4.0)}
ROWS = [
    (case, 1, "right_lobe", metric, value, "mm" if metric == "hd95" else "1")
    for metric, pair in VALUES.items()
    for case, value in zip("abc", (*pair, math.nan), strict=True)
]


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = ["case", "label_index", "label_name", "metric", "value", "unit"]
    measurements = pd.DataFrame(ROWS, columns=columns)
    measurements["patient_id"], measurements["status"] = measurements["case"], "ok"
    measurements.loc[measurements["case"] == "c", "status"] = "empty"
    cases = pd.DataFrame(
        {"case": list("abc"), "diagonal_mm": 100.0, "reason": "", "missing": "", "predicted": "p", "reference": "r"}
    )
    return measurements, cases


def test_tables_to_paste_hold_means_intervals_and_counts(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    summary = summarise(*tables)
    head, _, row = as_markdown(summary).splitlines()
    assert head == "| structure | cases | Dice | HD95 (mm) |"
    assert row.startswith("| right lobe | 2 of 3 | 0.700 [")
    assert "| 3.00 [" in row
    latex = as_latex(summary)
    assert latex.startswith("\\begin{tabular}{lrrr}\n\\toprule\n")
    assert "right lobe & 2 of 3 & 0.700 [" in latex


@pytest.mark.parametrize(
    ("name", "latex", "markdown"),
    [
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}", r"\\input{/etc/passwd}"),
        ("a#b$c&d%e", r"a\#b\$c\&d\%e", "a#b$c&d%e"),
        ("x^2~y", r"x\textasciicircum{}2\textasciitilde{}y", "x^2~y"),
        ("one|two\nthree", "one|two three", r"one\|two three"),
        ("[see](javascript:x)<b>", "[see](javascript:x)<b>", "&#91;see](javascript:x)&lt;b>"),
    ],
)
def test_names_are_printed_as_they_are(tables: tuple[pd.DataFrame, pd.DataFrame], name: str, latex: str, markdown: str) -> None:
    measurements, cases = tables
    summary = summarise(measurements.assign(label_name=name), cases)
    assert f"{latex} & 2 of 3" in as_latex(summary)
    assert f"| {markdown} | 2 of 3" in as_markdown(summary)


def test_nnunets_shape(tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    found = nnunet_summary(*tables)
    assert found["mean"]["1"] == {"Dice": 0.7, "IoU": 0.4}
    assert found["foreground_mean"] == {"Dice": 0.7, "IoU": 0.4}
    assert found["metric_per_case"][2]["metrics"]["1"] == {"Dice": None, "IoU": None}
    write_exports(tmp_path, summarise(*tables), *tables)
    assert json.loads((tmp_path / "nnunet_summary.json").read_text()) == found
    assert (tmp_path / "summary.tex").is_file()


def test_a_pasted_table_says_that_cases_were_in_the_training(tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    measurements, cases = tables
    for marks, told in ((["yes", "", "yes"], "2 of 3 cases were in the model's training."), ([""] * 3, "")):
        write_exports(tmp_path, summarise(measurements, cases), measurements, cases.assign(in_training=marks))
        texts = [(tmp_path / name).read_text() for name in ("summary.md", "summary.tex")]
        assert [text.splitlines()[-1].endswith(told) if told else "in the model's" not in text for text in texts] == [True, True]
