"""The order in which a file stores its axes: taken away before anything is computed, and given back to what comes out.

A scan is the same scan whether its file runs left to right or right to left, slice by slice or row by row. Whatever rounds,
breaks a tie or adds up numbers does so on the upright image: axes in RAS+ order, at a place that depends on sizes alone, so that
all 48 orders are one and the same input. Voxels are only exchanged, never interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.shapes import Size
from segsuite.volumes.grid import Grid, require_same_grid
from segsuite.volumes.orientation import orientation_of
from segsuite.volumes.volume import Volume

__all__ = ["Order", "order_onto", "order_to_upright", "reordered", "upright", "upright_grid", "upright_mask"]

Box = tuple[slice, ...]
MOST_APART = 0.1
"""Of direction cosines from 0 or 1, of axes that may be the same; whether they are, the grids' corners tell."""


@dataclass(frozen=True)
class Order:
    """How axes are exchanged and turned round.

    Attributes:
        axes: For each new axis the old one.
        turned: Whether the new axis runs the other way.
    """

    axes: tuple[int, int, int]
    turned: tuple[bool, bool, bool]

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self.axes == (0, 1, 2) and not any(self.turned)

    def applied(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array in the new order.

        Args:
            array: (..., i, j, k) in the old order.

        Returns:
            A view.
        """
        lead = array.ndim - 3
        moved = np.transpose(array, (*range(lead), *(lead + axis for axis in self.axes)))
        return np.flip(moved, tuple(lead + axis for axis in range(3) if self.turned[axis]))

    def undone(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array back in the old order.

        Args:
            array: (..., i, j, k) in the new order.

        Returns:
            A view.
        """
        lead = array.ndim - 3
        turned_back = np.flip(array, tuple(lead + axis for axis in range(3) if self.turned[axis]))
        return np.transpose(turned_back, (*range(lead), *(lead + self.axes.index(axis) for axis in range(3))))

    def applied_box(self, box: Box, shape: Size) -> Box:
        """The same voxels in the new order.

        Args:
            box: One slice per axis of the old order.
            shape: Of the image in the old order.
        """
        moved = tuple(box[axis] for axis in self.axes)
        return self._turned_box(moved, tuple(shape[axis] for axis in self.axes))

    def undone_box(self, box: Box, shape: Size) -> Box:
        """The same voxels in the old order.

        Args:
            box: One slice per axis of the new order.
            shape: Of the image in the old order.
        """
        moved = self._turned_box(box, tuple(shape[axis] for axis in self.axes))
        return tuple(moved[self.axes.index(axis)] for axis in range(3))

    def applied_grid(self, grid: Grid) -> Grid:
        """Where the voxels lie in the new order: where they were.

        Args:
            grid: In the old order.
        """
        change = np.zeros((4, 4))
        change[3, 3] = 1.0
        for new, (old, turned) in enumerate(zip(self.axes, self.turned, strict=True)):
            change[old, new] = -1.0 if turned else 1.0
            change[old, 3] = grid.shape[old] - 1 if turned else 0.0
        return Grid(tuple(grid.shape[axis] for axis in self.axes), grid.affine @ change)

    def _turned_box(self, box: Box, shape: Size) -> Box:
        return tuple(
            slice(n - part.stop, n - part.start) if turned else part
            for part, n, turned in zip(box, shape, self.turned, strict=True)
        )


def order_to_upright(grid: Grid) -> Order:
    """How an image comes into RAS+ order, or as near to it as its planes allow.

    Args:
        grid: As stored.

    Returns:
        From the stored to the upright order.
    """
    orientation = orientation_of(grid.affine)
    stored = np.argsort(orientation[:, 0])
    turned = orientation[stored, 1] < 0
    return Order((int(stored[0]), int(stored[1]), int(stored[2])), (bool(turned[0]), bool(turned[1]), bool(turned[2])))


def upright_grid(grid: Grid) -> Grid:
    """The grid that all computing is done on: axes in RAS+ order, as if the first voxel were the origin and no plane oblique.

    Voxel sizes are taken in single precision, which NIfTI stores: what comes out of quaternions or matrices differs after that
    from one order to the other.

    Args:
        grid: As stored.
    """
    axes = order_to_upright(grid).axes
    spacing = np.asarray(grid.spacing_mm, dtype=np.float32).astype(np.float64)
    return Grid(tuple(grid.shape[axis] for axis in axes), np.diag([*(spacing[axis] for axis in axes), 1.0]))


def upright(volume: Volume) -> tuple[Volume, Order]:
    """An image as all computing sees it: equal, bit by bit, for all 48 orders in which a file can store it.

    Args:
        volume: As stored.

    Returns:
        The voxels in RAS+ order, one after the other in memory, on ``upright_grid``: where they lie in the body is known of the
        stored volume alone. And how they came there. The volume itself if it is upright already.
    """
    order, grid = order_to_upright(volume.grid), upright_grid(volume.grid)
    if order.is_identity and np.array_equal(grid.affine, volume.grid.affine) and volume.array.flags.c_contiguous:
        return volume, order
    return replace(volume, array=np.ascontiguousarray(order.applied(volume.array)), grid=grid, header={}), order


def order_onto(source: Grid, target: Grid, *, names: tuple[str, str]) -> Order:
    """How an image is brought into another's storage order, if both lie on one grid apart from it.

    Args:
        source: The grid of what is brought.
        target: The grid wanted.
        names: What target and source are called in the message, usually their files.

    Returns:
        From the source's order to the target's.

    Raises:
        GridError: They lie on different grids, in whatever order.
    """
    relation = (np.linalg.inv(target.affine) @ source.affine)[:3, :3]
    rounded = np.round(relation)
    is_order = np.abs(relation - rounded).max() <= MOST_APART and (np.abs(rounded).sum(axis=0) == 1).all()
    if not is_order or not (np.abs(rounded).sum(axis=1) == 1).all():
        require_same_grid(target, source, names=names)
        return Order((0, 1, 2), (False, False, False))
    first, second, third = (int(axis) for axis in np.abs(rounded).argmax(axis=1))
    turned = rounded.sum(axis=1) < 0
    order = Order((first, second, third), (bool(turned[0]), bool(turned[1]), bool(turned[2])))
    moved = order.applied_grid(source)
    require_same_grid(target, moved if moved.shape == target.shape else source, names=names)
    return order


def reordered(volume: Volume, like: Grid, *, names: tuple[str, str]) -> Volume:
    """A mask or channel in the storage order of the image that it belongs to; no voxel is interpolated.

    Args:
        volume: On the image's grid, in any order.
        like: The image's grid.
        names: What image and volume are called in the message, usually their files.

    Returns:
        In the image's order; the volume itself where it is so stored.

    Raises:
        GridError: It lies on another grid.
    """
    order = order_onto(volume.grid, like, names=names)
    if order.is_identity:
        return volume
    array = np.ascontiguousarray(order.applied(volume.array))
    return replace(volume, array=array, grid=order.applied_grid(volume.grid), header={})


def upright_mask(mask: Volume, image: Grid, *, names: tuple[str, str]) -> Volume:
    """A mask beside its upright image.

    Args:
        mask: On the image's grid, in any order.
        image: The grid of the image as stored.
        names: What image and mask are called in the message, usually their files.

    Returns:
        On ``upright_grid(image)``.

    Raises:
        GridError: It lies on another grid.
    """
    array = order_to_upright(image).applied(reordered(mask, image, names=names).array)
    return replace(mask, array=np.ascontiguousarray(array), grid=upright_grid(image), header={})
