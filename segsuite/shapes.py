"""The axis convention of the whole house, and the array types that carry it.

An image is ``(channels, i, j, k)``, a batch ``(batch, channels, i, j, k)``, a batch of slices
``(batch, channels, height, width)``. On the network grid i, j, k run towards right, anterior, superior
(RAS+). Spacings and patch sizes are given in the order i, j, k. SimpleITK's ``(k, j, i)`` never leaves
``volumes/dicom_pixels.py``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Affine", "FloatArray", "Image", "LabelMap", "Mask", "Size", "Spacing", "row_order"]

Image: TypeAlias = NDArray[np.float32]
"""Intensities, (channels, i, j, k)."""
LabelMap: TypeAlias = NDArray[np.integer[Any]]
"""One integer per voxel, (i, j, k)."""
Mask: TypeAlias = NDArray[np.bool_]
"""One structure, (i, j, k)."""
Affine: TypeAlias = NDArray[np.float64]
"""Voxel index to RAS+ millimetres, (4, 4)."""
FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""Real numbers of any shape."""
Spacing: TypeAlias = tuple[float, ...]
"""Voxel size in mm along each axis."""
Size: TypeAlias = tuple[int, ...]
"""Voxels along each axis."""


def row_order(axis: int) -> tuple[int, int, int]:
    """The axes of rows along one of them: that one first, the others as they were."""
    others = [other for other in range(3) if other != axis]
    return axis, others[0], others[1]
