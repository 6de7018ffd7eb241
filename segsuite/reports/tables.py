"""Summaries of an evaluation, with the house's rule for empty masks.

``nan`` (nothing to measure) is left out and counted; ``inf`` (a structure missed or invented) becomes the image's
diagonal in mm, is counted, and stays in the mean: missing a structure can never improve a score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from segsuite.errors import VolumeError, few_of
from segsuite.files import write_json
from segsuite.reports.statistics import mean_with_interval, median_with_interval
from segsuite.volumes.regions import integers_of, label_of

__all__ = ["FEW_PATIENTS", "notes_on", "read_evaluation", "subgroups", "summarise", "write_summary"]

MISSED = ("missed", "no prediction")
MEASUREMENT_COLUMNS = ("case", "patient_id", "label_index", "label_name", "metric", "value", "unit", "status")
CASE_COLUMNS = ("case", "patient_id", "diagonal_mm", "predicted", "reference", "image", "reason")
SINCE_FIRST = {"missing", "undeclared", "notes", "in_training"}
"""Columns of ``cases.csv`` that the first version did not write."""
N_NAMED = 5
"""Cases named in a note."""
MOST_NOTES = 20
"""Notes on files in a summary; the table holds all."""
PLAIN_NUMBER = r"-?(0|[1-9]\d*)(\.\d+)?"
"""A number as people write amounts; ``012``, ``1_2`` and ``1E5`` are names."""
FEW_PATIENTS = 20
"""Below this an interval says little, and the report says so."""
N_PARTS = 3
"""Parts of a subgroup by a number with many values: its thirds."""
SUBGROUP_METRICS = ("dice", "hd95", "assd", "volume_difference")


def read_evaluation(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of an evaluation folder.

    Args:
        folder: Holds ``metrics_per_case.csv`` and ``cases.csv``.

    Returns:
        Measurements and cases.

    Raises:
        VolumeError: The folder holds no evaluation, or tables that were changed so that they are none.
    """
    paths = folder / "metrics_per_case.csv", folder / "cases.csv"
    for path in paths:
        if not path.is_file():
            raise VolumeError(f"{folder} must hold {path.name}, got none. Run `segsuite evaluate` first.")
    measurements = _read_table(paths[0], MEASUREMENT_COLUMNS, numbers={"value": _floats, "label_index": _labels})
    cases = _read_table(paths[1], CASE_COLUMNS, numbers={"diagonal_mm": _floats})
    for name in SINCE_FIRST - set(cases.columns):  # a folder that an earlier version wrote
        cases[name] = cases["reason"].map(lambda reason: "prediction" if reason else "") if name == "missing" else ""
    return measurements, cases


def _read_table(path: Path, columns: Sequence[str], *, numbers: Mapping[str, Callable[[Any], Any]]) -> pd.DataFrame:
    """Everything but the numbers stays text: a site `012` or `1_2` is no number."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if absent := [name for name in columns if name not in table.columns]:
            raise ValueError(f"no column `{absent[0]}`")
        return table.assign(**{name: read(table[name]) for name, read in numbers.items()})
    except (ValueError, OSError) as error:  # pandas' own and those of text that is no UTF-8 are such
        reason = " ".join(str(error).split())
        raise VolumeError(f"{path} must be a table as `segsuite evaluate` writes it, got: {reason}. Evaluate again.") from error


def _floats(column: Any) -> Any:
    return column.astype(float)


def _labels(column: Any) -> Any:
    """Integers; of a region several, joined by ``+``, which stay text."""
    return column.map(lambda text: int(text) if "+" not in text else label_of(integers_of(text)))


def summarise(measurements: pd.DataFrame, cases: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Means over cases per structure and metric, each beside how many cases it stands on.

    Args:
        measurements: One row per case, structure, metric.
        cases: One row per case, with ``diagonal_mm``.
        seed: Of the bootstrap.

    Returns:
        ``n_expected``, ``n_without_prediction``, ``n_without_reference``; ``structures``: name to metric to ``mean``, ``low``,
        ``high``, ``median``, ``median_low``, ``median_high``, ``unit``, ``n_scored``, ``n_expected``, ``n_missed``,
        ``n_spurious``, ``n_empty``, ``n_without_reference``; and ``mean``: metric to the mean over the structures that it was
        measured for.
    """
    diagonals: dict[str, float] = dict(zip(cases["case"], cases["diagonal_mm"], strict=True))
    structures: dict[str, dict[str, Any]] = {}
    for (name, metric), rows in measurements.groupby(["label_name", "metric"], sort=False):
        structures.setdefault(str(name), {})[str(metric)] = _summary_of(rows, diagonals, seed)
    metrics = list(dict.fromkeys(str(metric) for metric in measurements["metric"]))
    means = {metric: _mean([entry[metric]["mean"] for entry in structures.values() if metric in entry]) for metric in metrics}
    return {
        "n_expected": len(cases),
        "n_without_prediction": int((cases["missing"] == "prediction").sum()),
        "n_without_reference": int((cases["missing"] == "reference").sum()),
        "structures": structures,
        "mean": means,
    }


def subgroups(measurements: pd.DataFrame, cases: pd.DataFrame, attribute: str, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Summaries of the parts of a cohort.

    Args:
        measurements: One row per case, structure, metric.
        cases: One row per case, with a column of the attribute; numbers of more than three values are split in thirds.
        attribute: Its name.
        seed: Of the bootstrap.

    Returns:
        Value to ``n_cases``, ``n_patients``, ``few`` (too few patients to say much) and ``structures`` as ``summarise`` has
        them, for the metrics people compare; cases without the attribute are under ``unknown``.
    """
    chosen = measurements[measurements["metric"].isin(SUBGROUP_METRICS)]
    found = {}
    for value, rows in cases.groupby(_values_of(cases[attribute]), sort=True):
        part = chosen[chosen["case"].isin(set(rows["case"]))]
        n_patients = int(rows["patient_id"].nunique())
        found[str(value)] = {
            "n_cases": len(rows),
            "n_patients": n_patients,
            "few": n_patients < FEW_PATIENTS,
            "structures": summarise(part, rows, seed=seed)["structures"],
        }
    return found


def write_summary(folder: Path, *, by: Sequence[str] = (), seed: int = 0, notes: Sequence[str] = ()) -> dict[str, Any]:
    """``metrics_summary.json`` from the tables beside it.

    Args:
        folder: An evaluation folder.
        by: Columns of ``cases.csv`` by which the cohort is also split.
        seed: Of the bootstrap.
        notes: What else whoever reads the scores should know.

    Returns:
        The summary; ``notes`` are also about labels that are no structures, and with ``by`` it has ``subgroups``.
    """
    measurements, cases = read_evaluation(folder)
    summary = summarise(measurements, cases, seed=seed)
    summary["notes"] = [*notes, *notes_on(cases)]
    if by:
        summary["subgroups"] = {name: subgroups(measurements, cases, name, seed=seed) for name in by}
    write_json(folder / "metrics_summary.json", summary)
    return summary


def notes_on(cases: pd.DataFrame) -> list[str]:
    """What the files of an evaluation held beside its structures, and left open, each said once with its cases.

    Args:
        cases: One row per case.

    Returns:
        Sentences.
    """
    where: dict[str, list[str]] = {}
    for case, text in zip(cases["case"], cases["undeclared"], strict=True):
        for part in (part for part in text.split("; ") if part):
            where.setdefault(part.split(":")[0], []).append(str(case))
    said = []
    for part, names in where.items():
        side, _, what = part.partition(" ")
        held = f"{'predictions' if side == 'predicted' else 'references'} hold {what}"
        said.append(f"{held}, which is no declared structure and is not scored: {_listed(names)}")
    left_open: dict[str, list[str]] = {}
    for case, text in zip(cases["case"], cases["notes"], strict=True):
        if text:
            left_open.setdefault(text, []).append(str(case))
    return said + [f"{_listed(names)}: {text}" for text, names in left_open.items()][:MOST_NOTES]


def _listed(names: Sequence[str]) -> str:
    return f"case{'s' if len(names) > 1 else ''} {few_of(names, most=N_NAMED)}"


def _summary_of(rows: pd.DataFrame, diagonals: Mapping[str, float], seed: int) -> dict[str, Any]:
    values = [
        diagonals[case] if math.isinf(value) else float(value) for case, value in zip(rows["case"], rows["value"], strict=True)
    ]
    scored = [(value, patient) for value, patient in zip(values, rows["patient_id"], strict=True) if not math.isnan(value)]
    numbers, patients = [value for value, _ in scored], [patient for _, patient in scored]
    interval = mean_with_interval(numbers, patients, seed=seed)
    median = median_with_interval(numbers, patients, seed=seed)
    status = rows["status"]
    return {
        "mean": _json(interval.mean),
        "low": _json(interval.low),
        "high": _json(interval.high),
        "median": _json(median.mean),
        "median_low": _json(median.low),
        "median_high": _json(median.high),
        "unit": str(rows["unit"].iloc[0]),
        "n_scored": len(scored),
        "n_expected": len(rows),
        "n_missed": int(status.isin(MISSED).sum()),
        "n_spurious": int((status == "spurious").sum()),
        "n_empty": int((status == "empty").sum()),
        "n_without_reference": int((status == "no reference").sum()),
    }


def _values_of(column: pd.Series[Any]) -> pd.Series[Any]:
    """What cases are grouped by: words as they are, numbers of many values as thirds."""
    known = column.astype(str) != ""
    words: pd.Series[Any] = column.astype(str).where(known, "unknown")
    if not column[known].astype(str).str.fullmatch(PLAIN_NUMBER).all():
        return words
    numbers = pd.to_numeric(column.where(known), errors="coerce")
    if not known.any() or numbers[known].isna().any() or numbers.nunique() <= N_PARTS:
        return words
    thirds = pd.qcut(numbers[known], N_PARTS, duplicates="drop")
    words[known] = [f"{part.left:.4g} to {part.right:.4g}" for part in thirds]
    return words


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _json(value: float) -> float | None:
    """JSON has no NaN: nothing scored is ``null``."""
    return None if math.isnan(value) else round(value, 6)
