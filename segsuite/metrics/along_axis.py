"""Metrics along one axis of the body: overlap by thirds, and how far the courses of two tubes lie apart."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy.spatial import KDTree

from segsuite.metrics.overlap import dice_score, require_same_shape
from segsuite.shapes import FloatArray, Mask, Spacing

__all__ = ["THIRDS", "centre_line_distance_mm", "dice_per_third"]

THIRDS = ("lower", "middle", "upper")


def dice_per_third(predicted: Mask, reference: Mask, *, extent: tuple[int, int], axis: int, downwards: bool) -> dict[str, float]:
    """Dice in each third of an extent; what lies beyond its ends counts to the outer thirds.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        extent: First plane and the one after the last, along the axis.
        axis: Array axis from foot to head.
        downwards: The axis runs from head to foot.

    Returns:
        ``lower``, ``middle``, ``upper`` to Dice; ``nan`` where both are empty.
    """
    require_same_shape(predicted, reference)
    first, stop = extent
    cuts = [0, *(first + round((stop - first) * share) for share in (1 / 3, 2 / 3)), predicted.shape[axis]]
    scores = []
    for start, end in pairwise(cuts):
        part = [slice(None)] * 3
        part[axis] = slice(max(0, start), max(0, end))
        scores.append(dice_score(predicted[tuple(part)], reference[tuple(part)]))
    return dict(zip(THIRDS, scores[::-1] if downwards else scores, strict=True))


def centre_line_distance_mm(predicted: Mask, reference: Mask, *, spacing_mm: Spacing, axis: int) -> float:
    r"""How far two tubes' centre lines lie apart, for tubes that run along an axis (the distal urethra).

    The centre line is the centroid of every plane across the axis. With centre lines P and R:

    .. math:: \tfrac12 \Big( \frac{1}{|P|} \sum_{p \in P} \min_{r \in R} |p - r|
        + \frac{1}{|R|} \sum_{r \in R} \min_{p \in P} |p - r| \Big)

    so that a tube that is too short or too long pays for its end.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        spacing_mm: Voxel size along i, j, k.
        axis: Array axis that the tube runs along.

    Returns:
        Millimetres; ``nan`` if both masks are empty, ``inf`` if one is.
    """
    require_same_shape(predicted, reference)
    lines = [_centre_line(mask, spacing_mm, axis) for mask in (predicted, reference)]
    if not len(lines[0]) and not len(lines[1]):
        return math.nan
    if not len(lines[0]) or not len(lines[1]):
        return math.inf
    there, back = KDTree(lines[1]).query(lines[0])[0], KDTree(lines[0]).query(lines[1])[0]
    return float((np.mean(there) + np.mean(back)) / 2)


def _centre_line(mask: Mask, spacing_mm: Spacing, axis: int) -> FloatArray:
    """Centroid of every plane that the mask touches, in mm."""
    points = np.argwhere(mask)
    if not len(points):
        return np.zeros((0, 3))
    planes = points[:, axis]
    line = [points[planes == plane].mean(axis=0) for plane in np.unique(planes)]
    return np.asarray(line) * np.asarray(spacing_mm)
