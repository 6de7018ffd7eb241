"""What a representation knows: simple models fitted on it and scored on other subjects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from segsuite.shapes import FloatArray

__all__ = ["Probe", "area_under_curve", "probe_attribute", "shared_variance", "total_deviation"]

RIDGES = tuple(10.0**power for power in range(-3, 5))
MOST_CLASSES = 20
"""Values of an attribute that are whole numbers, of which there are at most so many, are classes."""


@dataclass(frozen=True)
class Probe:
    """What one attribute's probe found.

    Attributes:
        kind: ``classes`` or ``value``.
        score: Balanced accuracy, or R2 (at most 1, negative where worse than the mean).
        chance: What a guess gets: one over the number of classes, or 0.
        correct: Per test row, whether the class was right, or the squared error as a share of the variance; for intervals.
        rows: Test rows that know the attribute.
        n_training: Training rows that know it.
    """

    kind: str
    score: float
    chance: float
    correct: FloatArray
    rows: Any
    n_training: int

    @property
    def scaled(self) -> float:
        """The score with chance at 0 and perfect at 1."""
        return (self.score - self.chance) / (1 - self.chance)


def probe_attribute(training: FloatArray, known: Any, test: FloatArray, truth: Any, *, kind: str = "") -> Probe:
    """Fit a linear model on a representation and score it on other subjects.

    Standardised features; logistic regression for classes, ridge regression with its strength chosen by leave-one-out for
    values. Rows that do not know the attribute are left out.

    Args:
        training: (n, d) representation.
        known: (n,) floats with ``nan``, or texts with the empty text, where unknown.
        test: (m, d).
        truth: (m,).
        kind: ``classes`` or ``value``; empty: texts and few whole numbers are classes.

    Returns:
        The probe.

    Raises:
        ValueError: Fewer than two classes, or fewer than three rows that know the attribute, on either side.

    Source: linear probes: Alain and Bengio, arXiv:1610.01644.
    """
    known, truth = np.asarray(known), np.asarray(truth)
    here, there = _is_known(known), _is_known(truth)
    if here.sum() < 3 or there.sum() < 3:
        raise ValueError(f"An attribute must be known of at least 3 rows on each side, got {here.sum()} and {there.sum()}.")
    chosen = kind or ("classes" if _is_class(known[here]) else "value")
    if chosen == "value":
        return _probe_value(training[here], known[here].astype(float), test[there], truth[there].astype(float), there)
    classes = sorted(set(known[here].tolist()))
    there &= np.isin(truth, classes)
    if len(classes) < 2 or len(set(truth[there].tolist())) < 2:
        raise ValueError(f"A probe must have at least two classes on each side, got {classes}.")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(training[here], known[here])
    said = model.predict(test[there])
    score = float(np.mean([np.mean(said[truth[there] == kind] == kind) for kind in sorted(set(truth[there].tolist()))]))
    return Probe("classes", score, 1 / len(classes), (said == truth[there]).astype(float), np.flatnonzero(there), int(here.sum()))


def area_under_curve(scores: FloatArray, is_diseased: FloatArray) -> float:
    """Chance that a diseased subject scores higher than a healthy one.

    Args:
        scores: (n,).
        is_diseased: (n,) booleans.

    Returns:
        In [0, 1]; ``nan`` where a group is missing.
    """
    groups = np.asarray(is_diseased).astype(bool)
    if groups.all() or not groups.any():
        return math.nan
    return float(roc_auc_score(groups, scores))


def shared_variance(training: tuple[FloatArray, FloatArray], test: tuple[FloatArray, FloatArray]) -> float:
    """How much of one space's variance a linear model of the other predicts, on other subjects.

    Args:
        training: (n, d) the space that predicts, (n, e) the space that is predicted.
        test: The same of other subjects.

    Returns:
        R2 over all dimensions together; at most 1, about 0 or below where nothing is shared.
    """
    model = make_pipeline(StandardScaler(), RidgeCV(RIDGES)).fit(*training)
    error = ((model.predict(test[0]) - test[1]) ** 2).sum()
    spread = ((test[1] - training[1].mean(axis=0)) ** 2).sum()
    return float(1 - error / max(spread, 1e-12))


def total_deviation(right: Sequence[Probe], wrong: Sequence[Probe], *, ceilings: Sequence[float] | None = None) -> float:
    """Sum of how far probes lie from what a perfect separation would give; lower is better.

    Args:
        right: Probes of attributes in the space that should know them; expected at 1, or at their ceiling.
        wrong: Probes in the space that should not; expected at chance.
        ceilings: Scores of a supervised model for ``right``, instead of 1.

    Returns:
        At least 0. Scores are scaled so that chance is 0 and perfect 1, which lets classes and values be added.
    """
    tops = [1.0] * len(right) if ceilings is None else [
        (top - probe.chance) / (1 - probe.chance) for top, probe in zip(ceilings, right, strict=True)
    ]  # fmt: skip
    missed = sum(abs(top - probe.scaled) for top, probe in zip(tops, right, strict=True))
    return missed + sum(abs(probe.scaled) for probe in wrong)


def _probe_value(training: FloatArray, known: FloatArray, test: FloatArray, truth: FloatArray, there: Any) -> Probe:
    model = make_pipeline(StandardScaler(), RidgeCV(RIDGES)).fit(training, known)
    error = (model.predict(test) - truth) ** 2
    share = error / max(float(np.mean((truth - known.mean()) ** 2)), 1e-12)
    return Probe("value", float(1 - share.mean()), 0.0, share, np.flatnonzero(there), len(known))


def _is_known(values: Any) -> Any:
    if values.dtype.kind in "fc":
        return ~np.isnan(values)
    return np.array([value not in ("", None) for value in values.tolist()])


def _is_class(values: Any) -> bool:
    if values.dtype.kind not in "fiub":
        return True
    return len(np.unique(values)) <= MOST_CLASSES and bool(np.all(values == np.round(values.astype(float))))
