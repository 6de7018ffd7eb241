"""From a place in the salient space to what a person can read: a score, how rare it is among the healthy, who is near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segsuite.shapes import FloatArray

__all__ = ["Reference", "conformal_p", "nearest"]

N_NEAREST = 3
OUTLYING_QUANTILE = 0.99


@dataclass(frozen=True)
class Reference:
    """What a model keeps of its cohort to judge others by; embeddings only, no image.

    Attributes:
        healthy_scores: Of held-out healthy scans.
        healthy_subjects: Their subjects.
        common: (n, d_c), training scans.
        salient: (n, d_s).
        subjects: Of the training scans.
    """

    healthy_scores: FloatArray
    healthy_subjects: Sequence[str]
    common: FloatArray
    salient: FloatArray
    subjects: Sequence[str]

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
        distance = float(self._to_training(common[None], [subject])[0])
        usual = self._to_training(self.common, self.subjects)
        outlying = bool(distance > np.quantile(usual, OUTLYING_QUANTILE)) if len(usual) else False
        near = nearest(salient, self.salient, self.subjects, subject=subject)
        return {"score": round(float(score), 4), **judged, "nearest": near, "unlike_training": outlying}

    def _to_training(self, rows: FloatArray, subjects: Sequence[str]) -> FloatArray:
        """Distance to the nearest training scan of another subject."""
        distances = np.linalg.norm(rows[:, None] - self.common[None], axis=2)
        own = np.array(list(subjects))[:, None] == np.array(list(self.subjects))[None]
        return np.where(own, np.inf, distances).min(axis=1)


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
