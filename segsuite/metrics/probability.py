"""How far a predicted probability can be believed, voxel by voxel, in the neighbourhood of a structure.

Most of a volume is background that every model is sure of; taken together with it, any model looks well calibrated. So only
voxels near the structure (in the mask, in the reference, or close to them) count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segsuite.shapes import FloatArray, Mask

__all__ = ["N_BINS", "Calibration", "brier_score", "calibration_of", "expected_calibration_error"]

N_BINS = 10
"""Bins of equal width in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Counts per bin of probability; those of several cases may be added.

    Attributes:
        n_voxels: (bins,).
        probability: (bins,), sum of the probabilities in each bin.
        positives: (bins,), voxels of the reference in each bin.
    """

    n_voxels: FloatArray
    probability: FloatArray
    positives: FloatArray


def calibration_of(probability: FloatArray, reference: Mask) -> Calibration:
    """Sort voxels into bins.

    Args:
        probability: In [0, 1], any shape.
        reference: Boolean of the same shape.

    Returns:
        Counts per bin.
    """
    flat = np.clip(np.ravel(probability).astype(np.float64), 0, 1)
    place = np.minimum((flat * N_BINS).astype(np.intp), N_BINS - 1)
    weights = (None, flat, np.ravel(reference).astype(np.float64))
    return Calibration(*(np.bincount(place, weights=w, minlength=N_BINS).astype(np.float64) for w in weights))


def expected_calibration_error(calibration: Calibration) -> float:
    r"""How far probability and frequency lie apart, on average over voxels; 0 is best.

    .. math:: \sum_b \frac{n_b}{n} \left| \overline{p}_b - \overline{y}_b \right|

    Args:
        calibration: Counts per bin.

    Returns:
        In [0, 1]; ``nan`` if there is no voxel.

    Source: Guo et al., ICML 2017, arXiv:1706.04599, equation 3, for the probability of the structure.
    """
    total = float(calibration.n_voxels.sum())
    return float(np.abs(calibration.probability - calibration.positives).sum()) / total if total else math.nan


def brier_score(probability: FloatArray, reference: Mask) -> float:
    r"""Mean squared difference between the probability of a structure and whether it is there; 0 is best.

    .. math:: \frac{1}{n} \sum_i (p_i - y_i)^2

    Args:
        probability: In [0, 1], any shape.
        reference: Boolean of the same shape.

    Returns:
        In [0, 1]; ``nan`` if there is no voxel.

    Source: Brier, Mon. Weather Rev. 1950, 78(1):1-3.
    """
    if not reference.size:
        return math.nan
    return float(np.mean((probability.astype(np.float64) - reference) ** 2))
