"""Means with intervals that respect patients: several scans of one patient are resampled together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = ["Interval", "mean_with_interval"]

N_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; all ``nan`` if nothing was scored."""

    mean: float
    low: float
    high: float


def mean_with_interval(values: Sequence[float], patients: Sequence[str], *, seed: int = 0) -> Interval:
    """The mean of all values and a percentile interval from resampling patients with replacement.

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
    n = len(sums)
    draw = keyed_generator(seed, "bootstrap", n)
    weights = draw.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    means = (weights @ sums) / (weights @ counts)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def _per_patient(values: FloatArray, patients: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    _, index = np.unique(np.asarray(patients), return_inverse=True)
    ones = np.ones(len(values))
    sums, counts = (np.asarray(np.bincount(index, weights=w), dtype=np.float64) for w in (values, ones))
    return sums, counts
