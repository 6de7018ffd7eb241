"""Summaries of an evaluation, with the house's rule for empty masks.

``nan`` (nothing to measure) is left out and counted; ``inf`` (a structure missed or invented) becomes the image's
diagonal in mm, is counted, and stays in the mean: missing a structure can never improve a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from segsuite.errors import VolumeError
from segsuite.files import write_json
from segsuite.reports.statistics import mean_with_interval

__all__ = ["read_evaluation", "summarise", "write_summary"]

MISSED = ("missed", "no prediction")


def read_evaluation(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of an evaluation folder.

    Args:
        folder: Holds ``metrics_per_case.csv`` and ``cases.csv``.

    Returns:
        Measurements and cases.

    Raises:
        VolumeError: The folder holds no evaluation.
    """
    paths = folder / "metrics_per_case.csv", folder / "cases.csv"
    for path in paths:
        if not path.is_file():
            raise VolumeError(f"{folder} must hold {path.name}, got none. Run `segsuite evaluate` first.")
    text = {"case": str, "patient_id": str}
    return pd.read_csv(paths[0], dtype=text), pd.read_csv(paths[1], dtype=text, keep_default_na=False)


def summarise(measurements: pd.DataFrame, cases: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Means over cases per structure and metric, each beside how many cases it stands on.

    Args:
        measurements: One row per case, structure, metric.
        cases: One row per case, with ``diagonal_mm``.
        seed: Of the bootstrap.

    Returns:
        ``n_expected``, ``n_without_prediction``, ``structures``: name to metric to ``mean``, ``low``, ``high``,
        ``median``, ``unit``, ``n_scored``, ``n_expected``, ``n_missed``, ``n_spurious``, ``n_empty``; and ``mean``:
        metric to the mean over structures.
    """
    diagonals: dict[str, float] = dict(zip(cases["case"], cases["diagonal_mm"], strict=True))
    structures: dict[str, dict[str, Any]] = {}
    for (name, metric), rows in measurements.groupby(["label_name", "metric"], sort=False):
        structures.setdefault(str(name), {})[str(metric)] = _summary_of(rows, diagonals, seed)
    metrics = list(dict.fromkeys(str(metric) for metric in measurements["metric"]))
    means = {metric: _mean([entry[metric]["mean"] for entry in structures.values()]) for metric in metrics}
    return {
        "n_expected": len(cases),
        "n_without_prediction": int((cases["reason"] != "").sum()),
        "structures": structures,
        "mean": means,
    }


def write_summary(folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """``metrics_summary.json`` from the tables beside it.

    Args:
        folder: An evaluation folder.
        seed: Of the bootstrap.

    Returns:
        The summary.
    """
    summary = summarise(*read_evaluation(folder), seed=seed)
    write_json(folder / "metrics_summary.json", summary)
    return summary


def _summary_of(rows: pd.DataFrame, diagonals: Mapping[str, float], seed: int) -> dict[str, Any]:
    values = [
        diagonals[case] if math.isinf(value) else float(value) for case, value in zip(rows["case"], rows["value"], strict=True)
    ]
    scored = [(value, patient) for value, patient in zip(values, rows["patient_id"], strict=True) if not math.isnan(value)]
    interval = mean_with_interval([value for value, _ in scored], [patient for _, patient in scored], seed=seed)
    ordered = sorted(value for value, _ in scored)
    status = rows["status"]
    return {
        "mean": _json(interval.mean),
        "low": _json(interval.low),
        "high": _json(interval.high),
        "median": _json(ordered[len(ordered) // 2] if len(ordered) % 2 else _middle(ordered)),
        "unit": str(rows["unit"].iloc[0]),
        "n_scored": len(scored),
        "n_expected": len(rows),
        "n_missed": int(status.isin(MISSED).sum()),
        "n_spurious": int((status == "spurious").sum()),
        "n_empty": int((status == "empty").sum()),
    }


def _middle(ordered: list[float]) -> float:
    return (ordered[len(ordered) // 2 - 1] + ordered[len(ordered) // 2]) / 2 if ordered else math.nan


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _json(value: float) -> float | None:
    """JSON has no NaN: nothing scored is ``null``."""
    return None if math.isnan(value) else round(value, 6)
