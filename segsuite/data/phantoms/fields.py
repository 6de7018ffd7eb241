"""Coordinates of a voxel grid in mm, and smooth random fields on it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segsuite.shapes import Size, Spacing

__all__ = ["Coordinates", "centred_coordinates", "smooth_field"]

Coordinates: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""x, y, z in mm, broadcastable to one shape."""


def centred_coordinates(shape: Size, spacing_mm: Spacing, *, shift_mm: Spacing = (0.0, 0.0, 0.0)) -> Coordinates:
    """Where the voxels of a grid are, with the origin at its centre.

    Args:
        shape: Voxels along each axis.
        spacing_mm: Voxel size.
        shift_mm: Where the origin lies from the centre.

    Returns:
        Three open (broadcastable) arrays.
    """
    axes = [
        ((np.arange(n) - (n - 1) / 2) * mm - shift).astype(np.float32)
        for n, mm, shift in zip(shape, spacing_mm, shift_mm, strict=True)
    ]
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]


def smooth_field(shape: Size, draw: np.random.Generator, *, cells: int) -> NDArray[np.float32]:
    """Random values that vary smoothly: coarse Gaussian noise, enlarged by cubic splines.

    Args:
        shape: Of the result.
        draw: Source of randomness.
        cells: Knots along each axis; more is rougher.

    Returns:
        About zero mean and unit variance at the knots, float32.
    """
    coarse = draw.normal(size=(cells,) * len(shape)).astype(np.float32)
    zoom = [n / cells for n in shape]
    return np.asarray(ndimage.zoom(coarse, zoom, order=1 if cells > 8 else 3, mode="nearest", grid_mode=True), dtype=np.float32)
