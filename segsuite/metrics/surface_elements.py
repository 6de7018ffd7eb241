"""Surfaces as elements of area between voxels, not as voxels: what thin and anisotropic structures ask for.

An element lies at every corner between eight voxels of which some are inside; it counts by the area of marching cubes'
triangles there, in mm2. Steps between voxels make curved surfaces larger than they are: a ball of 20 mm, on voxels of 1 mm,
by less than a tenth.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from segsuite.metrics.overlap import require_same_shape
from segsuite.metrics.surface import SurfaceDistances, nearest_distances_mm
from segsuite.shapes import FloatArray, Mask, Spacing

__all__ = ["element_areas_mm2", "surface_element_distances_mm"]

N_CODES = 256
CORNERS = 1 << np.arange(8, dtype=np.uint8)[::-1].reshape(2, 2, 2)
"""The bit of a code that tells whether a corner's voxel is inside."""
MAJORITY = 4


def surface_element_distances_mm(predicted: Mask, reference: Mask, *, spacing_mm: Spacing) -> SurfaceDistances:
    """The surface pass between surface elements weighted by their area.

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.
        spacing_mm: Voxel size along i, j, k.

    Returns:
        Distances and areas; where one mask is empty, the distances of the other are ``inf``.

    Raises:
        GridError: The masks differ in shape.

    Source: Nikolov et al., JMIR 2021, doi:10.2196/26151.
    """
    require_same_shape(predicted, reference)
    codes = [_codes(mask) for mask in (predicted, reference)]
    elements = [(code > 0) & (code < N_CODES - 1) for code in codes]
    areas = element_areas_mm2(tuple(float(size) for size in spacing_mm))
    area_p, area_r = (areas[code[element]] for code, element in zip(codes, elements, strict=True))
    return SurfaceDistances(*nearest_distances_mm(*elements, spacing_mm=spacing_mm), area_p, area_r)


@cache
def element_areas_mm2(spacing_mm: tuple[float, float, float]) -> FloatArray:
    """Area of the surface that passes between eight neighbouring voxels, for each way of some being inside.

    Args:
        spacing_mm: Voxel size along i, j, k.

    Returns:
        (256,), indexed by a code whose bit is set for each voxel inside, the first voxel the highest; 0 where none or all are.

    Source: Lorensen and Cline, SIGGRAPH 1987, doi:10.1145/37402.37422. Of a cube with more than four corners inside, the
        area is that of its complement: the two sides of one surface are the same.
    """
    return np.array([_area(code, spacing_mm) for code in range(N_CODES)])


def _area(code: int, spacing_mm: tuple[float, float, float]) -> float:
    fewer = code if code.bit_count() <= MAJORITY else N_CODES - 1 - code
    if not fewer:
        return 0.0
    inside = (fewer & CORNERS > 0).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(inside, 0.5, spacing=spacing_mm, method="lorensen")
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _codes(mask: Mask) -> NDArray[np.uint8]:
    """Codes at all corners of all voxels, (i + 1, j + 1, k + 1); beyond the image nothing is inside."""
    padded = np.pad(mask, 1).astype(np.uint8)
    codes: NDArray[np.uint8] = np.zeros(tuple(size - 1 for size in padded.shape), dtype=np.uint8)
    for place in np.ndindex(2, 2, 2):
        window = tuple(slice(start, start + size) for start, size in zip(place, codes.shape, strict=True))
        codes |= padded[window] * CORNERS[place]
    return codes
