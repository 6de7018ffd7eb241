"""A prostate's shape from a mask that somebody drew, where there is a mask and no image: its zones, painted as a phantom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segsuite.data.phantoms.anatomy import AFS, DPU, PZ, TZ, Anatomy, draw_anatomy
from segsuite.data.phantoms.fields import Coordinates
from segsuite.errors import VolumeError
from segsuite.shapes import Spacing
from segsuite.volumes.cropping import bounding_box
from segsuite.volumes.grid import network_grid, resample
from segsuite.volumes.mask_files import list_masks
from segsuite.volumes.reading import read_labels

__all__ = ["DrawnProstate", "find_masks", "read_drawn_prostate"]

LEAST_ML = 5.0


@dataclass(frozen=True, eq=False)
class DrawnProstate:
    """Zones in the phantom's frame: i to the left, j to the back, k up.

    Attributes:
        zones: 0 outside, 1 PZ, 2 TZ, 3 DPU, 4 AFS, with a margin of one voxel around the gland.
        spacing_mm: Voxel size.
    """

    zones: NDArray[np.uint8]
    spacing_mm: Spacing

    def anatomy(self, draw: np.random.Generator) -> Anatomy:
        """Parameters that fit the mask, for its surroundings and for zones that are not drawn.

        Args:
            draw: Source of randomness for what the mask does not tell.

        Returns:
            The anatomy, with the mask's size.
        """
        gland = self.zones > 0
        extent = [(part.stop - part.start) * mm / 2 for part, mm in zip(bounding_box(gland), self.spacing_mm, strict=True)]
        ml = float(gland.sum() * np.prod(self.spacing_mm)) / 1000
        left, back, up = extent
        return replace(
            draw_anatomy(draw),
            volume_ml=ml,
            half_axes=(left, back, up),
            veru=float(-up + draw.normal(12, 1.5)),
            stroma_width=draw.uniform(0.35, 0.50) * left,
            groove=draw.uniform(0.5, 2.0),
        )

    def zones_at(self, points: Coordinates, anatomy: Anatomy) -> NDArray[np.uint8]:
        """The zone of every point; DPU and AFS are put in parametrically where the mask has none.

        Args:
            points: x, y, z in mm, from the gland's middle.
            anatomy: From ``anatomy``.

        Returns:
            0 outside the gland, else 1 PZ, 2 TZ, 3 DPU, 4 AFS.
        """
        middle = [(part.start + part.stop - 1) / 2 for part in bounding_box(self.zones > 0)]
        places = np.broadcast_arrays(*points)
        at = [axis / mm + centre for axis, mm, centre in zip(places, self.spacing_mm, middle, strict=True)]
        best = np.full(places[0].shape, 0.5, dtype=np.float32)
        zones = np.zeros(places[0].shape, dtype=np.uint8)
        gland = ndimage.map_coordinates((self.zones > 0).astype(np.float32), at, order=1) > 0.5
        best[gland] = 0.0
        for label in (PZ, TZ, DPU, AFS):
            if (self.zones == label).any():
                share = ndimage.map_coordinates((self.zones == label).astype(np.float32), at, order=1)
                wins = gland & (share > best)
                zones[wins] = label
                best = np.maximum(best, share)
        if not (self.zones == AFS).any():
            zones[gland & _before(points, gland, anatomy)] = AFS
        if not (self.zones == DPU).any():
            x, y, z = points
            centre = 0.12 * anatomy.half_axes[1] + anatomy.urethra_tilt * (z - anatomy.veru)
            tube = (x**2 + (y - centre) ** 2 < anatomy.urethra_radius**2) & (z < anatomy.veru)
            zones[gland & tube] = DPU
        return zones


def read_drawn_prostate(path: Path) -> DrawnProstate:
    """A zone mask as a shape.

    Args:
        path: Label map: 1 PZ, 2 TZ, and if drawn 3 DPU, 4 AFS.

    Returns:
        The shape, in the phantom's frame.

    Raises:
        VolumeError: Other labels, or no gland.
    """
    volume = read_labels(path)
    grid = network_grid(volume.grid, spacing_mm=None)
    upright = resample(volume.labels, volume.grid, grid, interpolation="nearest")
    found = [int(value) for value in np.unique(upright)]
    if not set(found) <= {0, PZ, TZ, DPU, AFS}:
        raise VolumeError(f"{path} must hold zones 1 PZ, 2 TZ, 3 DPU, 4 AFS, got labels {found}. Translate the mask first.")
    ml = float((upright > 0).sum()) * grid.voxel_ml
    if ml < LEAST_ML:
        raise VolumeError(f"{path} must hold a gland of at least {LEAST_ML:g} ml, got {ml:.2f} ml. Leave this mask out.")
    turned = upright[::-1, ::-1]  # from right-to-left and back-to-front to left and back
    box = bounding_box(turned > 0)
    part = np.pad(turned[box], 1).astype(np.uint8)
    spacing = grid.spacing_mm
    return DrawnProstate(part, (spacing[0], spacing[1], spacing[2]))


def find_masks(folder: Path) -> list[Path]:
    """The masks of a folder, sorted.

    Args:
        folder: Looked into at any depth.

    Returns:
        At least one file.

    Raises:
        VolumeError: None is there.
    """
    found = [path for path in list_masks(folder).masks if path.is_file()]
    if not found:
        raise VolumeError(f"{folder} must hold zone masks, got none. Check `masks`.")
    return found


def _before(points: Coordinates, gland: NDArray[np.bool_], anatomy: Anatomy) -> NDArray[np.bool_]:
    """Within the stroma's thickness of the gland's front, column by column."""
    x, y, z = points
    depth = anatomy.stroma_depth * np.clip(1 - (x / anatomy.stroma_width) ** 2, 0, 1)
    depth = depth * (1 - 0.25 * np.abs(z / anatomy.half_axes[2]))
    front = np.where(gland, y, np.inf).min(axis=1, keepdims=True)
    return np.asarray((y < front + depth) & (z > -0.7 * anatomy.half_axes[2]))
