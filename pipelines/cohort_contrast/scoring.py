"""From a place in the salient space to what a person can read: a score, how rare it is among the healthy, who is near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segsuite.shapes import FloatArray

__all__ = ["Reference", "conformal_p", "nearest", "outlying_distance"]

N_NEAREST = 3
OUTLYING_QUANTILE = 0.99
MOST_JUDGED = 5000
"""Rows whose nearest neighbour decides what is outlying; of more, so many are taken, evenly spread."""
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Reference:
    """What a model keeps of its cohort to judge others by; embeddings only, no image.

    Attributes:
        healthy_scores: Of held-out healthy scans.
        healthy_subjects: Their subjects.
        common: (n, d_c), training scans.
        salient: (n, d_s).
        subjects: Of the training scans.
        outlying_distance: See there.
    """

    healthy_scores: FloatArray
    healthy_subjects: Sequence[str]
    common: FloatArray
    salient: FloatArray
    subjects: Sequence[str]
    outlying_distance: float

    def report(self, score: float, common: FloatArray, salient: FloatArray, *, subject: str = "") -> dict[str, object]:
        """What is known of one scan.

        Args:
            score: Its distance from the null point.
            common: (d_c,).
            salient: (d_s,).
            subject: Of itself nobody is near: its own scans are left out.

        Returns:
            ``score``, ``p``, ``percentile`` and ``z`` against held-out healthy scans (``None`` where there are none),
            ``nearest`` subjects in the salient space, ``unlike_training``: whether it lies farther from the training scans in
            the common space than 99 % of these from each other.
        """
        others = np.array([name != subject for name in self.healthy_subjects], dtype=bool)
        healthy = np.asarray(self.healthy_scores)[others] if len(others) else np.zeros(0)
        judged: dict[str, object] = {"p": None, "percentile": None, "z": None}
        if len(healthy):
            judged = {
                "p": round(conformal_p(score, healthy), 4),
                "percentile": round(100 * float(np.mean(healthy < score)), 1),
                "z": round((score - float(healthy.mean())) / max(float(healthy.std()), 1e-9), 2),
            }
        distance = float(_distances_to_others(common[None], [subject], self.common, self.subjects)[0])
        outlying = bool(distance > self.outlying_distance)
        near = nearest(salient, self.salient, self.subjects, subject=subject)
        return {"score": round(float(score), 4), **judged, "nearest": near, "unlike_training": outlying}


def conformal_p(score: float, healthy: FloatArray) -> float:
    r"""How rarely a healthy subject scores as high.

    .. math:: p = \frac{1 + \#\{h \ge s\}}{n + 1}

    Args:
        score: s.
        healthy: (n,) scores of healthy subjects that training has not seen.

    Returns:
        In (0, 1]; at most alpha in a share of at most alpha of healthy subjects, if they are exchangeable.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, chapter 2.
    """
    return (1 + float(np.sum(np.asarray(healthy) >= score))) / (len(healthy) + 1)


def nearest(row: FloatArray, rows: FloatArray, subjects: Sequence[str], *, subject: str = "", n: int = N_NEAREST) -> list[str]:
    """The subjects whose scans lie nearest.

    Args:
        row: (d,).
        rows: (m, d).
        subjects: Of the rows.
        subject: Left out.
        n: How many.

    Returns:
        Up to n different subjects, nearest first.
    """
    order = np.argsort(np.linalg.norm(rows - row, axis=1))
    named = dict.fromkeys(subjects[int(at)] for at in order if subjects[int(at)] != subject)
    return list(named)[:n]


def outlying_distance(common: FloatArray, subjects: Sequence[str]) -> float:
    """How far training scans lie from the nearest scan of another subject, at most, but for 1 in 100.

    Args:
        common: (n, d_c), training scans.
        subjects: Their subjects.

    Returns:
        A distance in the common space; infinite where there is one subject.
    """
    rows = np.unique(np.linspace(0, len(common) - 1, min(len(common), MOST_JUDGED)).astype(int))
    names = list(subjects)
    parts = [
        _distances_to_others(common[part], [names[row] for row in part], common, names)
        for part in np.array_split(rows, max(1, len(rows) // ROWS_AT_ONCE))
    ]
    found = np.concatenate(parts)
    return float(np.quantile(found, OUTLYING_QUANTILE)) if np.isfinite(found).all() else float("inf")


def _distances_to_others(rows: FloatArray, own: Sequence[str], training: FloatArray, subjects: Sequence[str]) -> FloatArray:
    """Distance of each row to the nearest training scan of another subject."""
    squared = (rows**2).sum(1)[:, None] + (training**2).sum(1)[None] - 2 * rows @ training.T
    same = np.array(list(own))[:, None] == np.array(list(subjects))[None]
    return np.sqrt(np.maximum(np.where(same, np.inf, squared), 0)).min(axis=1)
