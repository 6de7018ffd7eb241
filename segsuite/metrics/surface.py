"""Distances between two surfaces in mm, from one surface pass per pair that all of them share.

The surface of a mask is its boundary voxels: those with a face neighbour outside the mask (or outside the image).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from segsuite.metrics.overlap import require_same_shape
from segsuite.shapes import FloatArray, Mask, Spacing

__all__ = [
    "SurfaceDistances",
    "average_symmetric_surface_distance_mm",
    "hausdorff_distance_mm",
    "mean_average_surface_distance_mm",
    "surface_dice_score",
    "surface_distances_mm",
    "surface_voxels",
]

TREE_COST_PER_POINT = 10
"""A nearest-neighbour tree costs about as much per surface voxel as a distance transform per 10 voxels of the box."""


@dataclass(frozen=True)
class SurfaceDistances:
    """For every surface voxel of one mask, the distance in mm to the nearest surface voxel of the other.

    Attributes:
        to_reference: One number per surface voxel of the predicted mask.
        to_predicted: One number per surface voxel of the reference mask.
    """

    to_reference: FloatArray
    to_predicted: FloatArray

    @property
    def of_empty(self) -> float | None:
        """``nan`` if both masks are empty, ``inf`` if one is, else ``None``: the one rule for empty masks."""
        if self.to_reference.size and self.to_predicted.size:
            return None
        return math.inf if self.to_reference.size or self.to_predicted.size else math.nan


def surface_distances_mm(predicted: Mask, reference: Mask, *, spacing_mm: Spacing) -> SurfaceDistances:
    """The surface pass: all nearest distances in both directions.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        spacing_mm: Voxel size along i, j, k.

    Returns:
        Distances; where one mask is empty, those of the other are ``inf``.

    Raises:
        GridError: The masks differ in shape.
    """
    require_same_shape(predicted, reference)
    surface_p, surface_r = surface_voxels(predicted), surface_voxels(reference)
    points_p, points_r = np.argwhere(surface_p), np.argwhere(surface_r)
    if not len(points_p) or not len(points_r):
        return SurfaceDistances(np.full(len(points_p), np.inf), np.full(len(points_r), np.inf))
    spacing = np.asarray(spacing_mm)
    low = np.minimum(points_p.min(axis=0), points_r.min(axis=0))
    high = np.maximum(points_p.max(axis=0), points_r.max(axis=0)) + 1
    if (len(points_p) + len(points_r)) * TREE_COST_PER_POINT < 2 * np.prod(high - low):
        shared_p, shared_r = surface_r[tuple(points_p.T)], surface_p[tuple(points_r.T)]
        return SurfaceDistances(
            _nearest_by_tree(points_p * spacing, points_r * spacing, shared_p),
            _nearest_by_tree(points_r * spacing, points_p * spacing, shared_r),
        )
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    from_r = ndimage.distance_transform_edt(~surface_r[box], sampling=spacing)
    from_p = ndimage.distance_transform_edt(~surface_p[box], sampling=spacing)
    return SurfaceDistances(from_r[surface_p[box]], from_p[surface_r[box]])


def _nearest_by_tree(points: FloatArray, others: FloatArray, shared: Mask) -> FloatArray:
    """Distance of each point to the nearest other one; points that are shared are at distance 0 and not searched for."""
    distances = np.zeros(len(points))
    if not shared.all():
        distances[~shared] = cKDTree(others, balanced_tree=False, compact_nodes=False).query(points[~shared])[0]
    return distances


def surface_voxels(mask: Mask) -> Mask:
    """Boundary voxels of a mask.

    Args:
        mask: Boolean (i, j, k).

    Returns:
        Boolean (i, j, k).
    """
    inner = np.pad(mask, 1)
    covered = mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(start, start + mask.shape[axis])
            covered &= inner[tuple(window)]
    return mask & ~covered


def hausdorff_distance_mm(distances: SurfaceDistances, *, percentile: float) -> float:
    """The larger of the two directed percentiles of distance; 0 is best.

    Args:
        distances: From ``surface_distances_mm``.
        percentile: 100 for the maximum, 95 for HD95.

    Returns:
        Millimetres; ``nan`` if both masks are empty, ``inf`` if one is.

    Source: Huttenlocher et al., IEEE PAMI 1993, doi:10.1109/34.232073.
    """
    if distances.of_empty is not None:
        return distances.of_empty
    directed = (np.percentile(distances.to_reference, percentile), np.percentile(distances.to_predicted, percentile))
    return float(max(directed))


def average_symmetric_surface_distance_mm(distances: SurfaceDistances) -> float:
    """ASSD: the mean over all surface voxels of both masks pooled; 0 is best.

    Args:
        distances: From ``surface_distances_mm``.

    Returns:
        Millimetres; ``nan`` if both masks are empty, ``inf`` if one is.

    Source: Heimann et al., IEEE TMI 2009, doi:10.1109/TMI.2009.2013851.
    """
    if distances.of_empty is not None:
        return distances.of_empty
    return float(np.concatenate([distances.to_reference, distances.to_predicted]).mean())


def mean_average_surface_distance_mm(distances: SurfaceDistances) -> float:
    """MASD: the mean of the two directed means; 0 is best.

    Args:
        distances: From ``surface_distances_mm``.

    Returns:
        Millimetres; ``nan`` if both masks are empty, ``inf`` if one is.

    Source: Litjens et al. (PROMISE12), Medical Image Analysis 2014, doi:10.1016/j.media.2013.12.002.
    """
    if distances.of_empty is not None:
        return distances.of_empty
    return float((distances.to_reference.mean() + distances.to_predicted.mean()) / 2)


def surface_dice_score(distances: SurfaceDistances, *, tolerance_mm: float) -> float:
    """Share of both surfaces that lies within a tolerance of the other; 1 is best.

    Args:
        distances: From ``surface_distances_mm``.
        tolerance_mm: At least 0.

    Returns:
        In [0, 1]; ``nan`` if both masks are empty, 0 if one is.

    Source: Nikolov et al., JMIR 2021, doi:10.2196/26151; counted in boundary voxels, not in area.
    """
    n_voxels = distances.to_reference.size + distances.to_predicted.size
    if not n_voxels:
        return math.nan
    near = (distances.to_reference <= tolerance_mm).sum() + (distances.to_predicted <= tolerance_mm).sum()
    return float(near) / n_voxels
