"""Grids in RAS+ millimetres, and the way of an image from its own grid to the network's and back.

Two grids that share their axes (up to order, direction and spacing) are resampled axis by axis with one small
weight matrix each, which is exact where nothing changes. Any other pair goes through an affine transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import nibabel.orientations as nio
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segsuite.errors import GridError
from segsuite.shapes import Affine, FloatArray, LabelMap, Size, Spacing
from segsuite.volumes.labels import labels_present
from segsuite.volumes.orientation import orientation_of

__all__ = [
    "AxisMap",
    "Grid",
    "Interpolation",
    "axis_maps",
    "back_to_grid",
    "network_grid",
    "require_same_grid",
    "resample",
]

Interpolation = Literal["linear", "nearest", "label"]

SAME_GRID_TOLERANCE_VOXELS = 0.1
"""Two grids are one when their far corners are nearer than this; float dust in headers is far below it."""
SHARED_AXES_TOLERANCE_VOXELS = 0.01
"""Off-axis drift over the whole image below which two grids count as sharing their axes."""
OUTSIDE_TOLERANCE_VOXELS = 0.3
"""How far beyond the outer face of an image a point still takes the edge value. ``network_grid`` rounds the number of
voxels, so that native centres can lie up to a quarter of a network voxel outside."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: a shape (i, j, k) and an affine from voxel index to RAS+ mm, (4, 4), float64."""

    shape: Size
    affine: Affine

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GridError(f"A grid must have three axes of at least one voxel, got shape {self.shape}.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GridError(f"An affine must be a finite 4x4 matrix, got {affine.tolist()}.")
        if min(self.spacing_mm) <= 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            spacing = tuple(round(mm, 6) for mm in self.spacing_mm)
            raise GridError(
                f"Voxel size must be above zero along three independent axes, got spacing {spacing} mm. "
                "Correct the header (pixdim, sform) before using this image."
            )

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel size in mm along i, j, k."""
        return tuple(float(mm) for mm in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def orientation(self) -> str:
        """Three letters, for example ``LPS``: the side that each axis runs towards."""
        return "".join(nio.ornt2axcodes(orientation_of(self.affine)))

    @property
    def diagonal_mm(self) -> float:
        """Length of the image's diagonal in mm: the price of a missed structure."""
        return float(np.linalg.norm(np.asarray(self.shape) * np.asarray(self.spacing_mm)))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def body_axes(self) -> tuple[int, int, int]:
        """For each array axis the body's axis that it mostly runs along: 0 left-right, 1 back-front, 2 foot-head."""
        i, j, k = (int(axis) for axis in orientation_of(self.affine)[:, 0])
        return i, j, k

    def cropped(self, box: tuple[slice, ...]) -> Grid:
        """The grid of a part.

        Args:
            box: One slice per axis, inside the grid.

        Returns:
            The part's grid, every voxel where it was.
        """
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([part.start for part in box], dtype=np.float64)
        return Grid(tuple(part.stop - part.start for part in box), affine)

    def reordered(self, order: tuple[int, int, int]) -> Grid:
        """The same voxels with their axes in another order.

        Args:
            order: Which axis comes first, second, third.
        """
        i, j, k = order
        return Grid((self.shape[i], self.shape[j], self.shape[k]), self.affine[:, [i, j, k, 3]])

    def corner_distance_voxels(self, other: Grid) -> float:
        """Largest distance between the same corner of both grids, in voxels of the smaller spacing."""
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
        corners[:, :3] *= np.asarray(self.shape) - 1
        apart = (corners @ (self.affine - other.affine).T)[:, :3]
        return float(np.linalg.norm(apart, axis=1).max() / min(*self.spacing_mm, *other.spacing_mm))


def require_same_grid(first: Grid, second: Grid, *, names: tuple[str, str]) -> None:
    """Check that two images lie on one grid: equal shape, far corners within 0.1 voxel.

    Args:
        first: One grid.
        second: The other.
        names: What the two images are called in the message, usually their files.

    Raises:
        GridError: They do not.
    """
    if first.shape != second.shape:
        raise GridError(
            f"{names[0]} and {names[1]} must lie on one grid, got shapes {first.shape} and {second.shape}. "
            "Resample the mask onto the image (or one channel onto the other), or pair the mask with the series it was drawn on."
        )
    apart = first.corner_distance_voxels(second)
    if apart > SAME_GRID_TOLERANCE_VOXELS:
        raise GridError(
            f"{names[0]} and {names[1]} must lie on one grid (corners within {SAME_GRID_TOLERANCE_VOXELS} voxel), "
            f"got corners {apart:.2f} voxels apart: orientation {first.orientation} and {second.orientation}, spacing "
            f"{_rounded(first.spacing_mm)} and {_rounded(second.spacing_mm)} mm, origin "
            f"{_rounded(tuple(first.affine[:3, 3]))} and {_rounded(tuple(second.affine[:3, 3]))} mm. "
            "Resample the mask onto the image (or one channel onto the other), or pair the mask with the series it was drawn on."
        )


def network_grid(native: Grid, *, spacing_mm: Spacing | None) -> Grid:
    """The grid that a network sees: nearest RAS+ axis order, given spacing, same centre and field of view.

    Args:
        native: The image's own grid, any orientation, oblique allowed (the obliqueness stays).
        spacing_mm: Target voxel size along the RAS+ axes; ``None`` keeps the image's own.

    Returns:
        A grid that shares its axes with ``native``.
    """
    order = orientation_of(native.affine)
    to_native = nio.inv_ornt_aff(order, native.shape)
    canonical = native.affine @ to_native
    inverse = np.argsort(order[:, 0])
    shape = np.asarray(native.shape)[inverse]
    if spacing_mm is None:
        return Grid(tuple(shape), canonical)
    own = np.linalg.norm(canonical[:3, :3], axis=0)
    scale = np.asarray(spacing_mm, dtype=np.float64) / own
    new_shape = np.maximum(1, np.round(shape / scale)).astype(int)
    scale[np.isclose(scale, 1.0, atol=1e-4) & (new_shape == shape)] = 1.0
    affine = canonical.copy()
    affine[:3, :3] = canonical[:3, :3] * scale
    centre = canonical @ np.append((shape - 1) / 2, 1.0)
    affine[:3, 3] = centre[:3] - affine[:3, :3] @ ((new_shape - 1) / 2)
    return Grid(tuple(new_shape), affine)


@dataclass(frozen=True, eq=False)
class AxisMap:
    """How one axis of a target grid is made from the axis of a source grid that runs along it.

    Attributes:
        source_axis: Which axis of the source.
        coordinates: For each target voxel, the source index it lies at.
        weights: (target voxels, source voxels), rows sum to 1; ``None`` where source voxels are only picked.
    """

    source_axis: int
    coordinates: FloatArray
    weights: FloatArray | None


def axis_maps(source: Grid, target: Grid) -> tuple[AxisMap, AxisMap, AxisMap] | None:
    """For each target axis, the linear map from the source; ``None`` if the grids do not share their axes.

    Args:
        source: Where the data is.
        target: Where it is wanted.

    Returns:
        Three maps, in the order of the target's axes.
    """
    shared = _shared_axes(source, target)
    if shared is None:
        return None
    maps = []
    for axis, (source_axis, scale, offset) in enumerate(zip(*shared, strict=True)):
        coordinates = scale * np.arange(target.shape[axis]) + offset
        n_in = source.shape[source_axis]
        picked = _is_pick(coordinates, n_in, abs(scale))
        weights = None if picked else _axis_weights(coordinates, n_in, half_width=max(1.0, abs(scale)))
        maps.append(AxisMap(source_axis, coordinates, weights))
    return (maps[0], maps[1], maps[2])


def resample(
    array: FloatArray | LabelMap, source: Grid, target: Grid, *, interpolation: Interpolation, outside: float = 0.0
) -> NDArray[Any]:
    """An image on another grid.

    Args:
        array: (channels, i, j, k) or (i, j, k) on ``source``.
        source: The grid of ``array``.
        target: The grid wanted.
        interpolation: ``linear`` for intensities (averages when shrinking); ``nearest``; ``label`` for label maps: each
            label's occupancy is interpolated on its own and the largest wins, so that a 1|3 border makes no 2.
        outside: Value where ``target`` reaches beyond ``source``.

    Returns:
        Same number of axes; float32 for ``linear``, else the dtype of ``array``.

    Raises:
        GridError: ``array`` does not have the shape of ``source``.
    """
    if tuple(array.shape[-3:]) != source.shape:
        raise GridError(f"The array must have its grid's shape {source.shape}, got {array.shape}.")
    if interpolation == "label":
        return _resample_labels(array, source, target, outside=int(outside))
    maps = axis_maps(source, target)
    if maps is None:
        return _resample_oblique(array, source, target, linear=interpolation == "linear", outside=outside)
    lead = array.ndim - 3
    result = np.transpose(array, (*range(lead), *(lead + entry.source_axis for entry in maps)))
    inside = []
    for axis, entry in enumerate(maps):
        n_in, edge = result.shape[lead + axis], 0.5 + OUTSIDE_TOLERANCE_VOXELS
        inside.append((entry.coordinates >= -edge) & (entry.coordinates <= n_in - 1 + edge))
        result = _along_axis(result, entry, lead + axis, linear=interpolation == "linear")
    result = np.ascontiguousarray(result, dtype=np.float32 if interpolation == "linear" else array.dtype)
    if not all(flags.all() for flags in inside):
        along_i, along_j, along_k = inside
        result[..., ~(along_i[:, None, None] & along_j[:, None] & along_k)] = outside
    return result


def back_to_grid(labels: LabelMap, network: Grid, native: Grid) -> LabelMap:
    """A label map from the network's grid on the image's own grid, for example to write it.

    Args:
        labels: Integers (i, j, k) on ``network``.
        network: Where they are.
        native: The image's own grid.

    Returns:
        Integers (i, j, k) on ``native``, same dtype; 0 where ``network`` does not reach.
    """
    return resample(labels, network, native, interpolation="label")  # type: ignore[return-value]


def _resample_labels(labels: NDArray[Any], source: Grid, target: Grid, *, outside: int) -> NDArray[Any]:
    shared = _shared_axes(source, target)
    if shared is not None and np.allclose(np.abs(shared[1]), 1.0) and np.allclose(shared[2], np.round(shared[2])):
        return resample(labels, source, target, interpolation="nearest", outside=outside)
    values = labels_present(labels)
    winner = resample(labels, source, target, interpolation="nearest", outside=outside)
    best = np.zeros(winner.shape, dtype=np.float32)
    for value in values:
        occupancy = resample((labels == value).astype(np.float32), source, target, interpolation="linear")
        wins = occupancy > best
        winner[wins] = value
        np.maximum(best, occupancy, out=best)
    return winner


def _shared_axes(source: Grid, target: Grid) -> tuple[tuple[int, ...], FloatArray, FloatArray] | None:
    """For each target axis: the source axis along it, source voxels per target voxel (signed), source index at 0."""
    relation = np.linalg.inv(source.affine) @ target.affine
    linear = relation[:3, :3]
    order = tuple(int(axis) for axis in np.abs(linear).argmax(axis=0))
    if sorted(order) != [0, 1, 2]:
        return None
    scales = linear[list(order), range(3)]
    rest = linear.copy()
    rest[list(order), range(3)] = 0
    if np.abs(rest @ np.diag(target.shape)).max() > SHARED_AXES_TOLERANCE_VOXELS:
        return None
    offsets = relation[list(order), 3]
    whole = np.abs(np.abs(scales) - 1) * np.asarray(target.shape) < 1e-3
    scales = np.where(whole, np.sign(scales), scales)
    offsets = np.where(whole & (np.abs(offsets - np.round(offsets)) < 1e-3), np.round(offsets), offsets)
    return order, scales, offsets


def _is_pick(coordinates: FloatArray, n_in: int, step: float) -> bool:
    """Whether every coordinate is a source voxel and nothing shrinks, so that no weights are needed."""
    return step <= 1 + 1e-6 and np.allclose(coordinates, _nearest(coordinates, n_in), atol=1e-6)


def _nearest(coordinates: FloatArray, n_in: int) -> NDArray[np.intp]:
    tidied = np.round(coordinates, 6)  # half way between two voxels is half way, whatever dust the affines left
    return np.clip(np.round(tidied), 0, n_in - 1).astype(np.intp)


def _along_axis(array: NDArray[Any], entry: AxisMap, axis: int, *, linear: bool) -> NDArray[Any]:
    if not linear or entry.weights is None:
        nearest = _nearest(entry.coordinates, array.shape[axis])
        if np.array_equal(nearest, np.arange(array.shape[axis])):
            return array
        return np.take(array, nearest, axis=axis)
    moved = np.tensordot(entry.weights, array.astype(np.float32, copy=False), axes=(1, axis))
    return np.moveaxis(moved, 0, axis)


def _axis_weights(coordinates: FloatArray, n_in: int, *, half_width: float) -> FloatArray:
    """Triangle-filter weights, (n_out, n_in), rows sum to 1; wider than one voxel when shrinking, against aliasing."""
    clamped = np.clip(coordinates, 0, n_in - 1)
    weights = np.maximum(0.0, 1.0 - np.abs(clamped[:, None] - np.arange(n_in)[None, :]) / half_width)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _resample_oblique(array: FloatArray | LabelMap, source: Grid, target: Grid, *, linear: bool, outside: float) -> NDArray[Any]:
    relation = np.linalg.inv(source.affine) @ target.affine
    channels = array if array.ndim == 4 else array[None]
    moved = [
        ndimage.affine_transform(
            channel.astype(np.float32) if linear else channel,
            relation[:3, :3],
            offset=relation[:3, 3],
            output_shape=target.shape,
            order=1 if linear else 0,
            mode="constant",
            cval=outside,
        )
        for channel in channels
    ]
    return np.stack(moved) if array.ndim == 4 else moved[0]


def _rounded(values: Spacing) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
