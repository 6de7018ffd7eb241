"""Two settings trained several times each: is the difference larger than what another seed does?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from segsuite.errors import ManifestError
from segsuite.metrics.per_case import HIGHER_IS_BETTER
from segsuite.reports.ranking import shared_values
from segsuite.reports.statistics import Interval

__all__ = ["RepeatComparison", "compare_repeats"]

LEVEL = 0.95


@dataclass(frozen=True)
class RepeatComparison:
    """One structure, one metric.

    Attributes:
        structure: Its name.
        metric: What was measured.
        first: Mean over cases of each training of the first setting.
        second: The same of the second.
        difference: Mean of second minus first, with a Welch interval over trainings; ``nan`` limits with fewer than two of one.
        sentence: What can be said.
    """

    structure: str
    metric: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    difference: Interval
    sentence: str


def compare_repeats(
    first: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    second: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    *,
    metric: str,
    names: tuple[str, str],
) -> list[RepeatComparison]:
    """Compare the means of repeated trainings.

    Args:
        first: Measurements and cases of each training of one setting, all of the same references.
        second: The same of the other.
        metric: For example ``dice`` or ``hd95``.
        names: What to call the settings.

    Returns:
        One comparison per structure.

    Raises:
        ManifestError: Nothing in common.

    Source: Welch, Biometrika 1947, doi:10.1093/biomet/34.1-2.28; that seeds must be repeated: Bouthillier et al., MLSys 2021,
        arXiv:2103.03098.
    """
    values = shared_values([*first, *second], metric=metric)
    if values.empty:
        raise ManifestError(f"The trainings must share cases, structures and the metric `{metric}`, got none in common.")
    columns = [str(number) for number in range(len(first) + len(second))]
    found = []
    for structure, rows in values.groupby("label_name", sort=False):
        means = [float(rows[column].mean()) for column in columns]
        a, b = means[: len(first)], means[len(first) :]
        difference = _welch(a, b)
        found.append(
            RepeatComparison(
                str(structure), metric, tuple(a), tuple(b), difference, _sentence(str(structure), metric, a, b, difference, names)
            )
        )
    return found


def _welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    mean = float(np.mean(second) - np.mean(first))
    if min(len(first), len(second)) < 2:
        return Interval(mean, math.nan, math.nan)
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Interval(mean, mean, mean)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Interval(mean, mean - half, mean + half)


def _sentence(
    structure: str,
    metric: str,
    first: Sequence[float],
    second: Sequence[float],
    difference: Interval,
    names: tuple[str, str],
) -> str:
    counts = f"{len(first)} and {len(second)} trainings"
    if math.isnan(difference.low):
        return (
            f"{structure}: {difference.mean:+.4g} {metric}, but {counts} cannot tell it from the seed; train each at least twice"
        )
    span = f"95 % interval {difference.low:+.4g} to {difference.high:+.4g}, {counts}"
    if difference.low <= 0 <= difference.high:
        noise = max(float(np.std(values, ddof=1)) for values in (first, second))
        return f"{structure}: {difference.mean:+.4g} {metric} is within seed noise (SD {noise:.2g} between seeds; {span})"
    is_better = (difference.mean > 0) == metric.startswith(HIGHER_IS_BETTER)
    winner = names[1] if is_better else names[0]
    return f"{structure}: {winner} is better by {abs(difference.mean):.4g} {metric}, beyond seed noise ({span})"
