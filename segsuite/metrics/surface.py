"""Distances between two surfaces in mm, from one surface pass per pair that all of them share.

Two definitions of a surface, one way to search: the mask's boundary voxels, those with a face neighbour outside the mask or
outside the image, each counting as much (as MONAI); or the surface elements between its voxels, each counting by its area
(``surface_elements``, as google-deepmind's surface-distance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from segsuite.metrics.overlap import require_same_shape
from segsuite.shapes import FloatArray, Mask, Spacing

__all__ = [
    "SurfaceDistances",
    "average_symmetric_surface_distance_mm",
    "hausdorff_distance_mm",
    "mean_average_surface_distance_mm",
    "nearest_distances_mm",
    "surface_dice_score",
    "surface_distances_mm",
    "surface_voxels",
]

NEAR_STEPS = 64
"""Steps on the grid that are tried from every point before anything else."""
TREE_COST_PER_POINT = 12
"""A nearest-neighbour tree costs about as much per point that has to look for its neighbour as a distance transform per 12
voxels of the box."""


@dataclass(frozen=True)
class SurfaceDistances:
    """For every surface point of one mask, the distance in mm to the nearest surface point of the other.

    Attributes:
        to_reference: One number per surface point of the predicted mask.
        to_predicted: One number per surface point of the reference mask.
        areas_predicted: Area in mm2 that each point of the predicted mask stands for; ``None``: all count the same.
        areas_reference: The same of the reference mask.
    """

    to_reference: FloatArray
    to_predicted: FloatArray
    areas_predicted: FloatArray | None = None
    areas_reference: FloatArray | None = None

    @property
    def of_empty(self) -> float | None:
        """``nan`` if both masks are empty, ``inf`` if one is, else ``None``: the one rule for empty masks."""
        if self.to_reference.size and self.to_predicted.size:
            return None
        return math.inf if self.to_reference.size or self.to_predicted.size else math.nan


def surface_distances_mm(predicted: Mask, reference: Mask, *, spacing_mm: Spacing) -> SurfaceDistances:
    """The surface pass: all nearest distances in both directions.

    In float32, which is what headers hold spacings in: a distance that equals a tolerance must not miss it by rounding.

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
    both = nearest_distances_mm(surface_voxels(predicted), surface_voxels(reference), spacing_mm=spacing_mm)
    return SurfaceDistances(*(distances.astype(np.float32) for distances in both))


def nearest_distances_mm(first: Mask, second: Mask, *, spacing_mm: Spacing) -> tuple[FloatArray, FloatArray]:
    """From every point of one set to the nearest point of the other, both ways.

    Args:
        first: Boolean (i, j, k), true at the points.
        second: Boolean on the same grid.
        spacing_mm: Grid step along i, j, k.

    Returns:
        One distance per point of the first and of the second, in the order of ``numpy.argwhere``; ``inf`` where the other set
        is empty.
    """
    points_a, points_b = np.argwhere(first), np.argwhere(second)
    if not len(points_a) or not len(points_b):
        return np.full(len(points_a), np.inf), np.full(len(points_b), np.inf)
    spacing = np.asarray(spacing_mm)
    low = np.minimum(points_a.min(axis=0), points_b.min(axis=0))
    high = np.maximum(points_a.max(axis=0), points_b.max(axis=0)) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    steps = _near_steps(tuple(float(size) for size in spacing_mm))
    from_a, far_a = _nearest_by_steps(points_a - low, second[box], steps)
    from_b, far_b = _nearest_by_steps(points_b - low, first[box], steps)
    n_far = np.count_nonzero(far_a) + np.count_nonzero(far_b)
    if n_far * TREE_COST_PER_POINT < 2 * np.prod(high - low):
        from_a[far_a] = _nearest_by_tree(points_a[far_a] * spacing, points_b * spacing)
        from_b[far_b] = _nearest_by_tree(points_b[far_b] * spacing, points_a * spacing)
        return from_a, from_b
    to_b = ndimage.distance_transform_edt(~second[box], sampling=spacing)
    to_a = ndimage.distance_transform_edt(~first[box], sampling=spacing)
    return to_b[first[box]], to_a[second[box]]


@lru_cache(maxsize=16)
def _near_steps(spacing_mm: tuple[float, ...]) -> tuple[NDArray[np.int64], FloatArray]:
    """The nearest steps from a grid point to others and their lengths, the shortest first; none in between is left out."""
    reach = 2 * (math.prod(spacing_mm) * NEAR_STEPS) ** (1 / len(spacing_mm))
    sides = [np.arange(-int(reach / size), int(reach / size) + 1) for size in spacing_mm]
    steps = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(spacing_mm))
    lengths = np.sqrt(((steps * np.asarray(spacing_mm)) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    chosen = order[lengths[order] <= reach][:NEAR_STEPS]
    return steps[chosen], lengths[chosen]


def _nearest_by_steps(
    points: NDArray[np.int64], others: Mask, steps: tuple[NDArray[np.int64], FloatArray]
) -> tuple[FloatArray, Mask]:
    """Try the nearest steps from all points at once: most surfaces that are compared lie close to each other.

    Returns:
        Distance of each point, and where none of the steps led to another one.
    """
    offsets, lengths = steps
    margin = np.abs(offsets).max(axis=0)
    padded = np.pad(others, [(int(m), int(m)) for m in margin])
    strides = np.array([math.prod(padded.shape[axis + 1 :]) for axis in range(padded.ndim)])
    flat, at, moves = padded.ravel(), (points + margin) @ strides, offsets @ strides
    distances, left = np.zeros(len(points)), np.arange(len(points))
    for move, length in zip(moves, lengths, strict=True):
        hit = flat[at + move]
        distances[left[hit]] = length
        left, at = left[~hit], at[~hit]
        if not len(left):
            break
    far = np.zeros(len(points), dtype=bool)
    far[left] = True
    return distances, far


def _nearest_by_tree(points: FloatArray, others: FloatArray) -> FloatArray:
    if not len(points):
        return np.zeros(0)
    found: FloatArray = cKDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0]
    return found


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

    With areas, the distance within which that share of the surface lies; without, interpolated between the voxels.

    Args:
        distances: From ``surface_distances_mm`` or ``surface_element_distances_mm``.
        percentile: 100 for the maximum, 95 for HD95.

    Returns:
        Millimetres; ``nan`` if both masks are empty, ``inf`` if one is.

    Source: Huttenlocher et al., IEEE PAMI 1993, doi:10.1109/34.232073.
    """
    if distances.of_empty is not None:
        return distances.of_empty
    return max(
        _percentile(distances.to_reference, distances.areas_predicted, percentile),
        _percentile(distances.to_predicted, distances.areas_reference, percentile),
    )


def average_symmetric_surface_distance_mm(distances: SurfaceDistances) -> float:
    """ASSD: the mean over the surfaces of both masks pooled; 0 is best.

    Args:
        distances: From ``surface_distances_mm`` or ``surface_element_distances_mm``.

    Returns:
        Millimetres; ``nan`` if both masks are empty, ``inf`` if one is.

    Source: Heimann et al., IEEE TMI 2009, doi:10.1109/TMI.2009.2013851.
    """
    if distances.of_empty is not None:
        return distances.of_empty
    areas_p, areas_r = _areas(distances)
    total = (distances.to_reference * areas_p).sum() + (distances.to_predicted * areas_r).sum()
    return float(total / (areas_p.sum() + areas_r.sum()))


def mean_average_surface_distance_mm(distances: SurfaceDistances) -> float:
    """MASD: the mean of the two directed means; 0 is best.

    Args:
        distances: From ``surface_distances_mm`` or ``surface_element_distances_mm``.

    Returns:
        Millimetres; ``nan`` if both masks are empty, ``inf`` if one is.

    Source: Litjens et al. (PROMISE12), Medical Image Analysis 2014, doi:10.1016/j.media.2013.12.002.
    """
    if distances.of_empty is not None:
        return distances.of_empty
    areas_p, areas_r = _areas(distances)
    return float(np.average(distances.to_reference, weights=areas_p) + np.average(distances.to_predicted, weights=areas_r)) / 2


def surface_dice_score(distances: SurfaceDistances, *, tolerance_mm: float) -> float:
    """Share of both surfaces that lies within a tolerance of the other; 1 is best.

    Args:
        distances: From ``surface_distances_mm`` (shares of boundary voxels) or ``surface_element_distances_mm`` (of area).
        tolerance_mm: At least 0.

    Returns:
        In [0, 1]; ``nan`` if both masks are empty, 0 if one is.

    Source: Nikolov et al., JMIR 2021, doi:10.2196/26151.
    """
    if not distances.to_reference.size and not distances.to_predicted.size:
        return math.nan
    areas_p, areas_r = _areas(distances)
    near = areas_p[distances.to_reference <= tolerance_mm].sum() + areas_r[distances.to_predicted <= tolerance_mm].sum()
    return float(near / (areas_p.sum() + areas_r.sum()))


def _areas(distances: SurfaceDistances) -> tuple[FloatArray, FloatArray]:
    sides = ((distances.to_reference, distances.areas_predicted), (distances.to_predicted, distances.areas_reference))
    first, second = (np.ones(len(values)) if areas is None else areas for values, areas in sides)
    return first, second


def _percentile(values: FloatArray, areas: FloatArray | None, percentile: float) -> float:
    if areas is None:
        return float(np.percentile(values, percentile))
    order = np.argsort(values, kind="stable")
    share = np.cumsum(areas[order]) / areas.sum()
    return float(values[order][min(int(np.searchsorted(share, percentile / 100)), len(values) - 1)])
