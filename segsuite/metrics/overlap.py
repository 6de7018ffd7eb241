"""Overlap and volume of two masks. Both empty: ``nan`` (nothing to measure). One empty: 0."""

from __future__ import annotations

import math

import numpy as np

from segsuite.errors import GridError
from segsuite.shapes import Mask

__all__ = [
    "absolute_volume_difference_ml",
    "dice_score",
    "iou_score",
    "precision_score",
    "require_same_shape",
    "sensitivity_score",
    "volume_difference_ml",
    "volume_difference_percent",
    "volume_ml",
]


def dice_score(predicted: Mask, reference: Mask) -> float:
    r"""Dice similarity, 1 is best.

    .. math:: 2 |P \cap R| / (|P| + |R|)

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.

    Returns:
        In [0, 1]; ``nan`` if both are empty.

    Raises:
        GridError: The masks differ in shape.

    Source: Dice, Ecology 1945, doi:10.2307/1932409.
    """
    require_same_shape(predicted, reference)
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(reference))
    return 2 * int(np.count_nonzero(predicted & reference)) / total if total else math.nan


def iou_score(predicted: Mask, reference: Mask) -> float:
    r"""Intersection over union (Jaccard), 1 is best.

    .. math:: |P \cap R| / |P \cup R|

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.

    Returns:
        In [0, 1]; ``nan`` if both are empty.

    Raises:
        GridError: The masks differ in shape.

    Source: Jaccard, New Phytologist 1912, doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    require_same_shape(predicted, reference)
    union = int(np.count_nonzero(predicted | reference))
    return int(np.count_nonzero(predicted & reference)) / union if union else math.nan


def sensitivity_score(predicted: Mask, reference: Mask) -> float:
    r"""Share of the reference that was found (recall), 1 is best.

    .. math:: |P \cap R| / |R|

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.

    Returns:
        In [0, 1]; ``nan`` if both are empty, 0 if one is.

    Raises:
        GridError: The masks differ in shape.
    """
    return _share_of_overlap(predicted, reference, of=reference)


def precision_score(predicted: Mask, reference: Mask) -> float:
    r"""Share of the prediction that is right (positive predictive value), 1 is best.

    .. math:: |P \cap R| / |P|

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.

    Returns:
        In [0, 1]; ``nan`` if both are empty, 0 if one is.

    Raises:
        GridError: The masks differ in shape.
    """
    return _share_of_overlap(predicted, reference, of=predicted)


def volume_difference_percent(predicted: Mask, reference: Mask) -> float:
    """Size of the volume difference as a share of the reference; 0 is best.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.

    Returns:
        Percent, at least 0; ``nan`` if both are empty. Against an empty reference there is no share: 100.

    Raises:
        GridError: The masks differ in shape.
    """
    require_same_shape(predicted, reference)
    n_p, n_r = int(np.count_nonzero(predicted)), int(np.count_nonzero(reference))
    if not n_r:
        return 100.0 if n_p else math.nan
    return 100.0 * abs(n_p - n_r) / n_r


def volume_ml(mask: Mask, *, voxel_ml: float) -> float:
    """Volume of a mask.

    Args:
        mask: Boolean (i, j, k).
        voxel_ml: Volume of one voxel.

    Returns:
        Millilitres.
    """
    return int(np.count_nonzero(mask)) * voxel_ml


def volume_difference_ml(predicted: Mask, reference: Mask, *, voxel_ml: float) -> float:
    """Predicted minus reference volume.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        voxel_ml: Volume of one voxel.

    Returns:
        Millilitres; positive is too large.

    Raises:
        GridError: The masks differ in shape.
    """
    require_same_shape(predicted, reference)
    return volume_ml(predicted, voxel_ml=voxel_ml) - volume_ml(reference, voxel_ml=voxel_ml)


def absolute_volume_difference_ml(predicted: Mask, reference: Mask, *, voxel_ml: float) -> float:
    """How much the volumes differ, either way; unlike signed differences, too large and too small do not cancel in a mean.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        voxel_ml: Volume of one voxel.

    Returns:
        Millilitres; 0 is best.

    Raises:
        GridError: The masks differ in shape.
    """
    return abs(volume_difference_ml(predicted, reference, voxel_ml=voxel_ml))


def require_same_shape(predicted: Mask, reference: Mask) -> None:
    """Check that two masks can be compared voxel by voxel.

    Args:
        predicted: One mask.
        reference: The other.

    Raises:
        GridError: They differ in shape.
    """
    if predicted.shape != reference.shape:
        raise GridError(
            f"predicted and reference must lie on one grid, got shapes {predicted.shape} and {reference.shape}. "
            "Bring the prediction back with volumes.grid.back_to_grid first."
        )


def _share_of_overlap(predicted: Mask, reference: Mask, *, of: Mask) -> float:
    require_same_shape(predicted, reference)
    if not (predicted.any() or reference.any()):
        return math.nan
    whole = int(np.count_nonzero(of))
    return int(np.count_nonzero(predicted & reference)) / whole if whole else 0.0
