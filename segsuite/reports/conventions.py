"""How the same masks score under other tools' rules for what is missing: the reason why two papers' means differ.

Where both masks have a structure all tools measure the same. They part where one mask or both lack it, or where a prediction
is not there at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from segsuite.metrics.per_case import HIGHER_IS_BETTER

__all__ = ["CONVENTIONS", "CONVENTIONS_FILE", "Convention", "Difference", "differences", "means_under"]

CONVENTIONS_FILE = "conventions.csv"
"""In an evaluation folder: what was treated otherwise, where that was asked for."""
Rule = Literal["left out", "perfect", "worst", "infinite"]
OVERLAPS = ("dice", "iou", "surface_dice")
DISTANCES = ("hd", "hd95", "assd", "masd")
SAID = {
    "left out": "leaves it out",
    "perfect": "counts it as perfect",
    "worst": "counts the worst value",
    "infinite": "says infinite",
}
STATUS_SAID = {
    "empty": "in neither mask",
    "missed": "missed by the prediction",
    "spurious": "in the prediction only",
    "no prediction": "without a prediction",
}


@dataclass(frozen=True)
class Convention:
    """What one tool does with a structure that a mask lacks.

    Attributes:
        name: Of the tool.
        metrics: Families that it has: ``dice``, ``iou``, ``surface_dice``, ``distance``.
        rules: Family and status to rule; what is not there is measured as usual (an overlap of 0).
        source: Where that is written.
    """

    name: str
    metrics: frozenset[str]
    rules: Mapping[tuple[str, str], Rule]
    source: str


def _rules(**statuses: Mapping[str, Rule]) -> dict[tuple[str, str], Rule]:
    return {(family, status.replace("_", " ")): rule for status, rules in statuses.items() for family, rule in rules.items()}


_ALL = ("dice", "iou", "surface_dice", "distance")
_OUT: dict[str, Rule] = dict.fromkeys(_ALL, "left out")
CONVENTIONS = {
    "segsuite": Convention(
        "segsuite",
        frozenset(_ALL),
        _rules(empty=_OUT, missed={"distance": "worst"}, spurious={"distance": "worst"}, no_prediction={"distance": "worst"}),
        "reports/tables.py",
    ),
    "monai": Convention(
        "monai",
        frozenset(_ALL),
        _rules(
            empty=_OUT,
            missed={"distance": "left out", "assd": "infinite"},
            spurious={"dice": "left out", "iou": "left out", "distance": "left out", "assd": "infinite"},
            no_prediction=_OUT,
        ),
        "monai.metrics with their defaults and reduction `mean`, tested against MONAI 1.6",
    ),
    "nnunet": Convention(
        "nnunet",
        frozenset(("dice", "iou")),
        _rules(empty=_OUT, no_prediction=_OUT),
        "nnunetv2.evaluation.evaluate_predictions with --chill; without it a missing file stops the evaluation",
    ),
    "metricsreloaded": Convention(
        "metricsreloaded",
        frozenset(_ALL),
        _rules(
            empty={"dice": "perfect", "iou": "left out", "surface_dice": "left out", "distance": "perfect"},
            missed={"distance": "worst"},
            spurious={"distance": "worst"},
            no_prediction={"distance": "worst"},
        ),
        "Maier-Hein et al., Nat. Methods 2024, doi:10.1038/s41592-023-02151-z (a missing value counts as the worst one); both "
        "empty: MetricsReloaded.metrics.pairwise_measures",
    ),
}


@dataclass(frozen=True)
class Difference:
    """One value that a convention treats otherwise.

    Attributes:
        case: Case id.
        structure: Its name.
        metric: Which.
        convention: Whose rule it is.
        ours: Value in segsuite's mean; ``nan``: left out.
        theirs: Value in its mean; ``nan``: left out.
        reason: A sentence.
    """

    case: str
    structure: str
    metric: str
    convention: str
    ours: float
    theirs: float
    reason: str


def means_under(measurements: pd.DataFrame, cases: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Means of the same masks under several conventions, side by side.

    Args:
        measurements: One row per case, structure, metric.
        cases: One row per case, with ``diagonal_mm``.
        names: Keys of ``CONVENTIONS``.

    Returns:
        Columns ``structure``, ``metric`` and, per convention, its mean and ``n <convention>`` values behind it; ``nan`` where a
        tool does not have the metric or nothing is left.
    """
    rows = _comparable(measurements)
    diagonals = dict(zip(cases["case"], cases["diagonal_mm"], strict=True))
    lines = []
    for (structure, metric), part in rows.groupby(["label_name", "metric"], sort=False):
        line: dict[str, object] = {"structure": structure, "metric": metric}
        for name in names:
            values = [value for value in _values(part, CONVENTIONS[name], diagonals) if not math.isnan(value)]
            line |= {name: sum(values) / len(values) if values else math.nan, f"n {name}": len(values)}
        lines.append(line)
    return pd.DataFrame(lines)


def differences(measurements: pd.DataFrame, cases: pd.DataFrame, names: Sequence[str]) -> list[Difference]:
    """Every value that one of the conventions treats otherwise than segsuite, and why.

    Args:
        measurements: One row per case, structure, metric.
        cases: One row per case, with ``diagonal_mm``.
        names: Keys of ``CONVENTIONS``.

    Returns:
        In order of the measurements; metrics that a tool does not have are no differences.
    """
    rows = _comparable(measurements)
    rows = rows[rows["status"] != "ok"]
    diagonals = dict(zip(cases["case"], cases["diagonal_mm"], strict=True))
    ours = _values(rows, CONVENTIONS["segsuite"], diagonals)
    found = []
    for name in names:
        convention = CONVENTIONS[name]
        for row, own, other in zip(rows.to_dict("records"), ours, _values(rows, convention, diagonals), strict=True):
            if own == other or (math.isnan(own) and math.isnan(other)) or _family(row["metric"]) not in convention.metrics:
                continue
            said = SAID.get(_rule(convention, row["metric"], row["status"]) or "", "measures it")
            reason = f"{row['label_name']} is {STATUS_SAID[row['status']]}: {name} {said}"
            found.append(Difference(row["case"], row["label_name"], row["metric"], name, own, other, reason))
    return found


def _comparable(measurements: pd.DataFrame) -> pd.DataFrame:
    return measurements[measurements["metric"].map(lambda metric: _family(metric) is not None)]


def _family(metric: str) -> str | None:
    if metric in DISTANCES:
        return "distance"
    if metric.startswith("surface_dice"):
        return "surface_dice"
    return metric if metric in OVERLAPS else None


def _rule(convention: Convention, metric: str, status: str) -> Rule | None:
    return convention.rules.get((metric, status)) or convention.rules.get((_family(metric) or "", status))


def _values(rows: pd.DataFrame, convention: Convention, diagonals: Mapping[str, float]) -> list[float]:
    values = []
    for case, metric, value, status in rows[["case", "metric", "value", "status"]].itertuples(index=False):
        rule = _rule(convention, metric, status)
        if _family(metric) not in convention.metrics or rule == "left out":
            values.append(math.nan)
        elif rule == "perfect":
            values.append(1.0 if metric.startswith(HIGHER_IS_BETTER) else 0.0)
        elif rule == "worst":
            values.append(diagonals[case])
        else:
            values.append(math.inf if rule == "infinite" else float(value))
    return values
