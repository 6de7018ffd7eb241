"""Two evaluations of the same cases: is one better, by how much, and can it be claimed?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from segsuite.errors import ManifestError
from segsuite.metrics.per_case import HIGHER_IS_BETTER
from segsuite.reports.ranking import shared_values
from segsuite.reports.statistics import Interval, holm_adjusted, mean_with_interval
from segsuite.reports.tables import FEW_PATIENTS

__all__ = ["Comparison", "compare_evaluations"]

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """One structure, one metric.

    Attributes:
        structure: Its name.
        metric: What was measured.
        n_cases: Pairs that were compared.
        difference: Mean of second minus first, with interval over patients.
        p_value: Wilcoxon signed-rank; ``nan`` if no pair differs.
        p_adjusted: After Holm over the structures.
        n_better: Cases in which the second is better.
        n_worse: Cases in which it is worse.
        sentence: What can be said.
    """

    structure: str
    metric: str
    n_cases: int
    difference: Interval
    p_value: float
    p_adjusted: float
    n_better: int
    n_worse: int
    sentence: str


def compare_evaluations(
    first: tuple[pd.DataFrame, pd.DataFrame],
    second: tuple[pd.DataFrame, pd.DataFrame],
    *,
    metric: str,
    names: tuple[str, str],
    seed: int = 0,
) -> list[Comparison]:
    """Compare case by case; only cases and structures that both evaluations expected count.

    Args:
        first: Measurements and cases, as ``tables.read_evaluation`` gives them.
        second: The same of the other evaluation.
        metric: For example ``dice`` or ``hd95``.
        names: What to call them.
        seed: Of the bootstrap.

    Returns:
        One comparison per structure.

    Raises:
        ManifestError: The evaluations share no case, or lack the metric.
    """
    values = shared_values([first, second], metric=metric).rename(columns={"0": "first", "1": "second"})
    if values.empty:
        raise ManifestError(
            f"The evaluations must share cases, structures and the metric `{metric}`, got none in common. "
            "Evaluate both against the same references."
        )
    pairs = {str(name): rows for name, rows in values.groupby("label_name", sort=False)}
    sign = 1 if metric.startswith(HIGHER_IS_BETTER) else -1
    p_values = [_wilcoxon(rows["second"] - rows["first"]) for rows in pairs.values()]
    compared = []
    for (name, rows), p, adjusted in zip(pairs.items(), p_values, holm_adjusted(p_values), strict=True):
        change = rows["second"] - rows["first"]
        interval = mean_with_interval(list(change), list(rows["patient_id"]), seed=seed)
        better, worse = int((sign * change > 0).sum()), int((sign * change < 0).sum())
        n_patients = rows["patient_id"].nunique()
        sentence = _sentence(name, metric, interval, adjusted, len(rows), n_patients, sign, names)
        compared.append(Comparison(name, metric, len(rows), interval, p, adjusted, better, worse, sentence))
    return compared


def _wilcoxon(change: pd.Series[float]) -> float:
    return float(stats.wilcoxon(change, zero_method="pratt").pvalue) if (change != 0).any() else math.nan


def _sentence(
    name: str,
    metric: str,
    interval: Interval,
    p: float,
    n_cases: int,
    n_patients: int,
    sign: int,
    names: tuple[str, str],
) -> str:
    span = f"95 % interval {interval.low:+.4g} to {interval.high:+.4g}, {n_cases} cases"
    few = f"; only {n_patients} patients: treat with care" if n_patients < FEW_PATIENTS else ""
    excludes_zero = interval.low > 0 or interval.high < 0
    if math.isnan(p) or p >= SIGNIFICANCE or not excludes_zero:
        return f"{name}: no difference in {metric} can be claimed ({interval.mean:+.4g}, {span}){few}"
    winner = names[1] if sign * interval.mean > 0 else names[0]
    return f"{name}: {winner} is better by {abs(interval.mean):.4g} {metric} ({span}){few}"
