"""Means and medians with intervals that respect patients: several scans of one patient are resampled together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = ["Interval", "bca_levels", "holm_adjusted", "mean_with_interval", "median_with_interval", "patient_weights"]

N_RESAMPLES = 2000
MOST_WEIGHTS = 2_000_000
"""Weights held in memory at once: with many patients the resamples are drawn in parts."""
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; all ``nan`` if nothing was scored."""

    mean: float
    low: float
    high: float


def mean_with_interval(values: Sequence[float], patients: Sequence[str], *, seed: int = 0) -> Interval:
    """The mean of all values and a BCa interval from resampling patients with replacement.

    Args:
        values: Finite numbers, one per case.
        patients: The patient of each value.
        seed: Of the resampling.

    Returns:
        Mean and interval; a point if there is one patient.

    Source: Field and Welsh, JRSS B 2007, doi:10.1111/j.1467-9868.2007.00593.x (cluster bootstrap).
    """
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    sums, counts = _per_patient(np.asarray(values, dtype=np.float64), patients)
    n, mean = len(sums), float(sums.sum() / counts.sum())
    if n == 1:
        return Interval(mean, mean, mean)
    means = _resampled(n, seed, lambda weights: (weights @ sums) / (weights @ counts))
    without_one = (sums.sum() - sums) / (counts.sum() - counts)
    low, high = np.quantile(means, bca_levels(means, mean, without_one))
    return Interval(mean, float(low), float(high))


def median_with_interval(values: Sequence[float], patients: Sequence[str], *, seed: int = 0) -> Interval:
    """The median of all values and a bias-corrected interval from resampling patients with replacement.

    Leaving one patient out moves a median by a step or not at all, which says nothing about its acceleration: that is 0.

    Args:
        values: Finite numbers, one per case.
        patients: The patient of each value.
        seed: Of the resampling.

    Returns:
        Median (as ``mean``) and interval; a point if there is one patient.

    Source: Efron, JASA 1987, doi:10.1080/01621459.1987.10478410, section 3.
    """
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    order = np.argsort(np.asarray(values), kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    median = float(np.median(ordered))
    names, owner = np.unique(np.asarray(patients)[order], return_inverse=True)
    if len(names) == 1:
        return Interval(median, median, median)

    def medians(weights: FloatArray) -> FloatArray:
        counts = np.cumsum(weights[:, owner], axis=1)
        half = counts[:, -1:] / 2
        lower, upper = (counts < half).sum(axis=1), (counts <= half).sum(axis=1)
        middle: FloatArray = (ordered[lower] + ordered[upper]) / 2
        return middle

    resampled = _resampled(len(names), seed, medians, per_patient=len(ordered) / len(names))
    low, high = np.quantile(resampled, bca_levels(resampled, median, np.zeros(len(names))))
    return Interval(median, float(low), float(high))


def patient_weights(n_patients: int, seed: int, *, per_patient: float = 1.0) -> Iterator[FloatArray]:
    """How often each patient is drawn in each resample, a part of the resamples at a time.

    Args:
        n_patients: At least 2.
        seed: Of the resampling.
        per_patient: Cases per patient, where weights are spread over cases.

    Yields:
        (resamples, patients); together ``N_RESAMPLES``.
    """
    rows = max(1, int(MOST_WEIGHTS / (n_patients * max(per_patient, 1.0))))
    if rows >= N_RESAMPLES:
        yield _all_weights(n_patients, seed)
        return
    draw = keyed_generator(seed, "bootstrap", n_patients)
    for start in range(0, N_RESAMPLES, rows):
        yield _drawn(draw, n_patients, min(rows, N_RESAMPLES - start))


def bca_levels(resampled: FloatArray, estimate: float, without_one: FloatArray) -> tuple[float, float]:
    r"""The two quantiles of the resampled estimates that make a bias-corrected and accelerated 95 % interval.

    .. math:: \alpha_{1,2} = \Phi\left(z_0 + \frac{z_0 \pm z}{1 - a (z_0 \pm z)}\right), \quad
        z_0 = \Phi^{-1}\left(\frac{\#\{\theta^* < \theta\}}{B}\right), \quad
        a = \frac{\sum_i d_i^3}{6 (\sum_i d_i^2)^{3/2}}, \quad d_i = \bar\theta_{(\cdot)} - \theta_{(i)}

    Args:
        resampled: Estimates of the bootstrap.
        estimate: The estimate of all data.
        without_one: Estimates with one patient left out each.

    Returns:
        Lower and upper level, in [0, 1].

    Source: Efron, JASA 1987, doi:10.1080/01621459.1987.10478410.
    """
    below = float(np.mean(resampled < estimate) + np.mean(resampled == estimate) / 2)
    shift = float(stats.norm.ppf(np.clip(below, 1e-6, 1 - 1e-6)))
    apart = without_one.mean() - without_one
    spread = float((apart**2).sum())
    acceleration = float((apart**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    levels = []
    for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        moved = shift + float(stats.norm.ppf(level))
        levels.append(float(stats.norm.cdf(shift + moved / (1 - acceleration * moved))))
    return levels[0], levels[1]


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for having asked several questions at once.

    Args:
        p_values: One per question; ``nan`` for a question that could not be asked.

    Returns:
        Adjusted values in the same order, at most 1.

    Source: Holm, Scand. J. Stat. 1979, 6(2):65-70.
    """
    asked = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(asked):
        largest = max(largest, min(1.0, p * (len(asked) - rank)))
        adjusted[index] = largest
    return adjusted


@lru_cache(maxsize=4)
def _all_weights(n_patients: int, seed: int) -> FloatArray:
    """Kept, because every structure and metric of a cohort asks for the same."""
    return _drawn(keyed_generator(seed, "bootstrap", n_patients), n_patients, N_RESAMPLES)


def _drawn(draw: np.random.Generator, n_patients: int, n_rows: int) -> FloatArray:
    return draw.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_rows).astype(np.float64)


def _resampled(
    n_patients: int, seed: int, estimate: Callable[[FloatArray], FloatArray], *, per_patient: float = 1.0
) -> FloatArray:
    return np.concatenate([estimate(weights) for weights in patient_weights(n_patients, seed, per_patient=per_patient)])


def _per_patient(values: FloatArray, patients: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    _, index = np.unique(np.asarray(patients), return_inverse=True)
    sums, counts = (np.asarray(np.bincount(index, weights=w), dtype=np.float64) for w in (values, np.ones(len(values))))
    return sums, counts
