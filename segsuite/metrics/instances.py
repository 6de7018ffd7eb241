"""Separate objects of one label (lesions): how many were found, how many were invented, how well they fit.

Objects are 26-connected components. They are matched one to one so that the sum of overlaps is largest; a match counts
from a least intersection over union on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from segsuite.metrics.overlap import require_same_shape
from segsuite.shapes import Mask

__all__ = [
    "InstanceMatches",
    "lesion_f1_score",
    "lesion_precision_per_size",
    "lesion_precision_score",
    "lesion_recall_per_size",
    "lesion_recall_score",
    "match_instances",
    "panoptic_quality_score",
]


@dataclass(frozen=True)
class InstanceMatches:
    """What was matched.

    Attributes:
        n_predicted: Objects in the prediction.
        n_reference: Objects in the reference.
        ious: Intersection over union of each accepted match.
        predicted_sizes: Voxels of each object in the prediction.
        reference_sizes: Voxels of each object in the reference.
        is_real: Whether each object in the prediction matches one.
        is_found: Whether one matches each object in the reference.
    """

    n_predicted: int
    n_reference: int
    ious: tuple[float, ...]
    predicted_sizes: tuple[int, ...] = ()
    reference_sizes: tuple[int, ...] = ()
    is_real: tuple[bool, ...] = ()
    is_found: tuple[bool, ...] = ()

    @property
    def n_matched(self) -> int:
        """True positives."""
        return len(self.ious)

    @property
    def n_false_positive(self) -> int:
        """Predicted objects that match nothing."""
        return self.n_predicted - self.n_matched

    @property
    def n_false_negative(self) -> int:
        """Reference objects that nothing matches."""
        return self.n_reference - self.n_matched


def match_instances(predicted: Mask, reference: Mask, *, least_iou: float) -> InstanceMatches:
    """Match the objects of two masks one to one.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        least_iou: Least intersection over union of a match, in (0, 1].

    Returns:
        Counts and overlaps.

    Raises:
        GridError: The masks differ in shape.
    """
    require_same_shape(predicted, reference)
    objects_p, n_p = ndimage.label(predicted, structure=np.ones((3,) * predicted.ndim))
    objects_r, n_r = ndimage.label(reference, structure=np.ones((3,) * reference.ndim))
    sizes_p, sizes_r = np.bincount(objects_p.ravel())[1:], np.bincount(objects_r.ravel())[1:]
    both = (objects_p > 0) & (objects_r > 0)
    shared = np.zeros((n_p, n_r))
    np.add.at(shared, (objects_p[both] - 1, objects_r[both] - 1), 1)
    iou = shared / (sizes_p[:, None] + sizes_r[None, :] - shared)
    rows, columns = optimize.linear_sum_assignment(np.where(iou >= least_iou, iou, 0.0), maximize=True)
    accepted = iou[rows, columns] >= least_iou
    is_real, is_found = np.zeros(n_p, dtype=bool), np.zeros(n_r, dtype=bool)
    is_real[rows[accepted]], is_found[columns[accepted]] = True, True
    return InstanceMatches(
        n_p,
        n_r,
        tuple(iou[rows, columns][accepted].tolist()),
        tuple(sizes_p.tolist()),
        tuple(sizes_r.tolist()),
        tuple(is_real.tolist()),
        tuple(is_found.tolist()),
    )


def lesion_precision_score(matches: InstanceMatches) -> float:
    """Share of predicted objects that are real; ``nan`` if there are no objects at all, 0 if only one side has some."""
    return _share(matches, matches.n_predicted)


def lesion_recall_score(matches: InstanceMatches) -> float:
    """Share of real objects that were found; ``nan`` if there are no objects at all, 0 if only one side has some."""
    return _share(matches, matches.n_reference)


def lesion_recall_per_size(matches: InstanceMatches, *, edges: Sequence[float]) -> list[float]:
    """Recall of small, larger and largest objects, by the size of the real ones.

    Args:
        matches: From ``match_instances``.
        edges: Ascending sizes in voxels; a size on an edge belongs above it.

    Returns:
        One value per bin, one more than edges; ``nan`` where there is no real object of that size.
    """
    return _shares_per_size(matches.reference_sizes, matches.is_found, edges)


def lesion_precision_per_size(matches: InstanceMatches, *, edges: Sequence[float]) -> list[float]:
    """Precision of small, larger and largest objects, by the size of the predicted ones.

    Args:
        matches: From ``match_instances``.
        edges: Ascending sizes in voxels; a size on an edge belongs above it.

    Returns:
        One value per bin, one more than edges; ``nan`` where there is no predicted object of that size.
    """
    return _shares_per_size(matches.predicted_sizes, matches.is_real, edges)


def lesion_f1_score(matches: InstanceMatches) -> float:
    r"""Harmonic mean of precision and recall of objects.

    .. math:: TP / (TP + FP/2 + FN/2)

    Args:
        matches: From ``match_instances``.

    Returns:
        In [0, 1]; ``nan`` if there are no objects at all.
    """
    total = (matches.n_predicted + matches.n_reference) / 2
    return matches.n_matched / total if total else math.nan


def panoptic_quality_score(matches: InstanceMatches) -> float:
    r"""F1 of objects times the mean overlap of the matched ones.

    .. math:: \sum_{TP} IoU / (TP + FP/2 + FN/2)

    Args:
        matches: From ``match_instances``.

    Returns:
        In [0, 1]; ``nan`` if there are no objects at all.

    Source: Kirillov et al., CVPR 2019, eq. 1, arXiv:1801.00868 (there with least IoU above 0.5).
    """
    total = (matches.n_predicted + matches.n_reference) / 2
    return sum(matches.ious) / total if total else math.nan


def _share(matches: InstanceMatches, whole: int) -> float:
    if not (matches.n_predicted or matches.n_reference):
        return math.nan
    return matches.n_matched / whole if whole else 0.0


def _shares_per_size(sizes: Sequence[int], matched: Sequence[bool], edges: Sequence[float]) -> list[float]:
    places = np.digitize(np.asarray(sizes, dtype=np.float64), edges)
    hits = np.asarray(matched, dtype=np.float64)
    return [float(hits[places == place].mean()) if (places == place).any() else math.nan for place in range(len(edges) + 1)]
