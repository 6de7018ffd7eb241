"""Signed distances to a surface in mm."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from segsuite.shapes import FloatArray, Mask, Spacing

__all__ = ["signed_distance_mm"]


def signed_distance_mm(mask: Mask, spacing_mm: Spacing, *, limit_mm: float = np.inf) -> FloatArray:
    """Distance of every voxel's centre to the nearest voxel of the other side, positive inside.

    Args:
        mask: Boolean (i, j, k).
        spacing_mm: Voxel size; thick slices count with their thickness.
        limit_mm: Largest absolute value.

    Returns:
        float32 (i, j, k); the limit everywhere in a full mask, its negative in an empty one.
    """
    if not mask.any() or mask.all():
        return np.full(mask.shape, limit_mm if mask.any() else -limit_mm, dtype=np.float32)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return np.clip(inside - outside, -limit_mm, limit_mm).astype(np.float32)
