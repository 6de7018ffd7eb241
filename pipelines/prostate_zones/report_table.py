"""The reports of many cases as one table, read one after the other."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segsuite.documents import read_json
from segsuite.errors import OutputError
from segsuite.files import write_atomically
from segsuite.outputs import require_outputs_apart

__all__ = ["write_report_table"]

ENDING = "_report.json"


def write_report_table(folder: Path, out: Path) -> int:
    """Write one row per case report below a folder; memory does not grow with the number of cases.

    Args:
        folder: Output folder of a prediction.
        out: TSV file.

    Returns:
        Number of rows.

    Raises:
        OutputError: No report there, or the table would take the place of one.
    """
    paths = sorted(folder.rglob(f"*{ENDING}"))
    if not paths:
        raise OutputError(f"{folder} must hold case reports (*{ENDING}), got none. Predict with a model of this pipeline.")
    require_outputs_apart({out: "the table"}, paths)
    write_atomically(out, lambda temporary: _write(folder, paths, temporary))
    return len(paths)


def _write(folder: Path, paths: list[Path], target: Path) -> None:
    columns = list(next(_rows(folder, paths[:1])))
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, delimiter="\t", lineterminator="\n", restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(_rows(folder, paths))


def _rows(folder: Path, paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        report = read_json(path)
        doubt = report["uncertainty"] or {}
        row = {
            "case": path.relative_to(folder).as_posix().removesuffix(ENDING),
            "gland_ml": report["gland_ml"],
            "psa_density": report["psa_density"],
            "uncertainty_mean": doubt.get("mean"),
            "uncertainty_p95": doubt.get("p95"),
        }
        for name, zone in report["zones"].items():
            row |= {f"{name}_ml": zone["ml"], f"{name}_slices": zone["slices"]}
        yield {**row, "warnings": "; ".join(report["warnings"])}
