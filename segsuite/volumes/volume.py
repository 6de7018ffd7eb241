"""An image with its grid and, for NIfTI, the geometry fields of its header, so that results can lie exactly on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segsuite.errors import VolumeError
from segsuite.shapes import FloatArray, LabelMap, Spacing
from segsuite.volumes.grid import Grid

__all__ = ["Volume", "require_varied"]

LARGEST_VOXEL = 1e18
"""Squares of larger ones do not fit into single precision: one such voxel would leave no contrast to all others."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One image.

    Attributes:
        array: (channels, i, j, k): float32 intensities, or integers where it is a label map (one channel).
        grid: Shape and affine.
        path: The file or DICOM folder it came from.
        header: The NIfTI header's geometry fields by name (``qform_code``, ``srow_x``, ...); of NRRD and
            MetaImage the unit where it is not mm; else empty.
        notes: Sentences on what the file says of itself that a user should know (units that were converted, two placements
            that differ, none at all); for ledgers and checks.
        sides_known: Whether the file says which side of the body is left. Without it the affine is only a convention.
    """

    array: FloatArray | LabelMap
    grid: Grid
    path: Path | None = None
    header: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sides_known: bool = True

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel size in mm along i, j, k."""
        return self.grid.spacing_mm

    def release(self) -> None:
        """Give up the voxels; where they lie stays known. For volumes that fill the memory and were used for the last time."""
        object.__setattr__(self, "array", self.array[:, :0].copy())

    def cropped(self, box: tuple[slice, ...]) -> Volume:
        """The part inside a box, at its place in the body.

        Args:
            box: One slice per axis i, j, k, inside the image.

        Returns:
            The part; this volume itself if the box is all of it.
        """
        grid = self.grid.cropped(box)
        if grid.shape == self.grid.shape:
            return self
        part = self.array[(slice(None), *box)]
        return Volume(part, grid, self.path, notes=self.notes, sides_known=self.sides_known)

    @property
    def labels(self) -> LabelMap:
        """The only channel of a label map, (i, j, k)."""
        return self.array[0]  # type: ignore[return-value]


def require_varied(volume: Volume, *, case: str) -> None:
    """Check that an image carries information: finite, not absurdly large and not constant, in every channel.

    Args:
        volume: The image.
        case: Case id for the message.

    Raises:
        VolumeError: NaN, infinite or absurdly large voxels, or a constant channel.
    """
    where = f"case {case}: {volume.path}"
    for number, channel in enumerate(volume.array):
        low, high = float(channel.min()), float(channel.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            n_bad = int((~np.isfinite(channel)).sum())
            raise VolumeError(
                f"{where} must have finite voxels, got {n_bad} NaN or infinite of {channel.size} in channel {number}. "
                "Replace them (for example by the image minimum) or leave the case out."
            )
        if max(-low, high) > LARGEST_VOXEL:
            n_bad = int((np.abs(channel) > LARGEST_VOXEL).sum())
            raise VolumeError(
                f"{where} must have voxels of a size that scans have, got {n_bad} beyond {LARGEST_VOXEL:g} (from {low:g} "
                f"to {high:g}) in channel {number}. Replace them (for example by the image minimum) or leave the case out."
            )
        if low == high:
            raise VolumeError(
                f"{where} must not be constant, got the single value {low:g} in all {channel.size} voxels of channel "
                f"{number}. Export the series again or leave the case out."
            )
