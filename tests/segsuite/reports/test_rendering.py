from __future__ import annotations

import math
from pathlib import Path

import pytest

from segsuite.errors import OutputError
from segsuite.reports.rendering import metric_title, render, write_page


@pytest.mark.parametrize(
    ("metric", "title"),
    [("hd95", "HD95 mm"), ("surface_dice_2mm", "surface Dice 2 mm"), ("cl_dice", "centre-line Dice"), ("lesion_f1", "lesion f1")],
)
def test_metrics_are_called_as_people_call_them(metric: str, title: str) -> None:
    assert metric_title(metric) == title


def test_what_is_shown_is_escaped_and_numbers_are_short() -> None:
    entry = {"mean": 12.3456, "low": math.nan, "high": math.inf, "median": None, "n_missed": 0, "n_scored": 1, "n_expected": 1}
    summary = {"n_expected": 1, "structures": {"<b>": {"dice": entry}}, "mean": {"dice": 0.98765}}
    table = {"columns": [], "rows": [], "n_rows": 0}
    page = render("report.html", name="x", evaluation={"summary": summary, "metrics": ["dice"], "table": table, "n_most": 1})
    assert "&lt;b&gt;" in page
    assert "<b>0.988</b>" in page
    assert "12.3<br>" in page
    assert "- to missed" in page


def test_a_page_that_somebody_else_wrote_stays(tmp_path: Path) -> None:
    page = "<html><head><title>run - segsuite report</title></head></html>"
    write_page(tmp_path / "a.html", page)
    write_page(tmp_path / "a.html", page + "again")
    assert (tmp_path / "a.html").read_text().endswith("again")
    (tmp_path / "b.html").write_text("<h1>My notes</h1>")
    with pytest.raises(OutputError, match=r"b.html must be a page of segsuite to be replaced"):
        write_page(tmp_path / "b.html", page)
    assert (tmp_path / "b.html").read_text() == "<h1>My notes</h1>"
