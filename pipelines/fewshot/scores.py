"""Generalized and incremental few-shot scores; which mean is meant is always part of the name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GfssScores", "SessionScores", "gfss_scores", "harmonic_mean", "iou_per_class", "session_scores"]


@dataclass(frozen=True)
class GfssScores:
    """Means over classes, each in [0, 1]; ``nan`` where no class was scored.

    Attributes:
        base: Base classes without background (as DIaM and BCM report).
        base_with_background: Base classes and background (as CAPL and POP report); larger by construction.
        novel: New classes.
        total: All classes and background.
        mean: Of ``base`` and ``novel``.
        harmonic: Harmonic mean of ``base`` and ``novel``.
    """

    base: float
    base_with_background: float
    novel: float
    total: float
    mean: float
    harmonic: float


@dataclass(frozen=True)
class SessionScores:
    """Incremental sessions.

    Attributes:
        last: Scores after the last session.
        averaged: Mean over sessions of each score (hides late forgetting; read it beside ``last``).
        forgetting: Per class its best score after an earlier session minus its last one; classes of the last session have none.
    """

    last: GfssScores
    averaged: GfssScores
    forgetting: dict[str, float]


def harmonic_mean(base: float, novel: float) -> float:
    r""":math:`2bn / (b + n)`, 0 if both are 0; of means, never a mean of harmonic means."""
    return 2 * base * novel / (base + novel) if base + novel > 0 else (0.0 if base + novel == 0 else math.nan)


def iou_per_class(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union of sums over the whole set.

    Args:
        confusion: (classes, classes), reference by prediction, voxel counts.

    Returns:
        (classes,); ``nan`` for a class in neither.
    """
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def gfss_scores(values: Mapping[str, float], *, novel: Sequence[str], background: str | None = None) -> GfssScores:
    """Means of a score per class.

    Args:
        values: Dice or IoU by class; ``nan`` where a class is in neither reference nor prediction.
        novel: New classes.
        background: Its name, where it was scored.

    Returns:
        The means.
    """
    olds = [value for name, value in values.items() if name not in novel and name != background]
    news = [value for name, value in values.items() if name in novel]
    ground = [values[background]] if background is not None else []
    base, new = _mean(olds), _mean(news)
    both = [base, new]
    return GfssScores(
        base,
        _mean([*olds, *ground]),
        new,
        _mean([*olds, *ground, *news]),
        math.nan if any(map(math.isnan, both)) else (base + new) / 2,
        harmonic_mean(base, new),
    )


def session_scores(
    sessions: Sequence[Mapping[str, float]], *, base: Sequence[str], background: str | None = None
) -> SessionScores:
    """Scores over incremental sessions, each over the classes seen so far.

    Args:
        sessions: After every session the score of every class known then; the first is that of the base model.
        base: Base classes.
        background: Its name, where it was scored.

    Returns:
        Last, averaged and forgetting.
    """
    known = {*base, background}
    scores = [
        gfss_scores(values, novel=[name for name in values if name not in known], background=background) for values in sessions
    ]
    averaged = GfssScores(*(_mean([getattr(one, name) for one in scores]) for name in GfssScores.__dataclass_fields__))
    last = sessions[-1]
    forgetting = {
        name: max(values[name] for values in sessions[:-1] if name in values) - last[name]
        for name in last
        if any(name in values for values in sessions[:-1])
    }
    return SessionScores(scores[-1], averaged, forgetting)


def _mean(values: Sequence[float]) -> float:
    scored = [value for value in values if not math.isnan(value)]
    return float(np.mean(scored)) if scored else math.nan
