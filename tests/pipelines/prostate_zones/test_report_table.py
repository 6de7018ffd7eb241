from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pipelines.prostate_zones.report_table import write_report_table
from segsuite.errors import OutputError


def report(gland: float, warnings: list[str], doubt: dict[str, float] | None) -> str:
    zone = {"ml": gland / 2, "slices": 9}
    content = {"gland_ml": gland, "psa_density": None, "uncertainty": doubt, "warnings": warnings, "zones": {"pz": zone}}
    return json.dumps(content)


def test_one_row_per_case_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x_report.json").write_text(report(30, ["cut", "thin"], {"mean": 0.1, "p95": 0.3}))
    (tmp_path / "a_report.json").write_text(report(50, [], None))
    assert write_report_table(tmp_path, tmp_path / "t.tsv") == 2
    with (tmp_path / "t.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["case"] for row in rows] == ["a", "b/x"]
    assert rows[0]["uncertainty_mean"] == ""
    assert (rows[1]["pz_ml"], rows[1]["warnings"]) == ("15.0", "cut; thin")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must hold case reports"):
        write_report_table(tmp_path, tmp_path / "t.tsv")
