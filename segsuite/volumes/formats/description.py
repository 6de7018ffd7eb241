"""What a file's header says, whatever its format: the shape, where the voxels lie, and how to get them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segsuite.errors import GridError, VolumeError
from segsuite.shapes import Affine

__all__ = ["Description", "in_millimetres", "require_plausible", "require_real", "require_shape"]

LONGEST_MM = 10_000.0
"""No image of a body is longer along an axis."""
FINEST_MM = 1e-6
UNKNOWN_UNITS_FINEST_MM, UNKNOWN_UNITS_COARSEST_MM = 0.02, 20.0
"""Without a unit in the header: a largest spacing below the one is a header in metres, a smallest above the other one in
micrometres, far more often than an image of such voxels."""
_UNIT_NAMES = {1000.0: "metres", 10.0: "centimetres", 1e-3: "micrometres", 1e-6: "nanometres"}


@dataclass(frozen=True)
class Description:
    """One image before its voxels are read.

    Attributes:
        shape: Voxels along the axes as stored; three in space, then times or channels.
        affine: Voxel index to RAS+ mm.
        dtype: Of a voxel as stored.
        voxels: Reads them, (i, j, k, ...), and checks that the file ends there.
        header: What has to be written back with a result, by the format's own names.
        notes: Sentences for the user.
        sides_known: Whether the file says which side is left.
        segments: The keys of a segmentation's structures, as the file has them.
    """

    shape: tuple[int, ...]
    affine: Affine
    dtype: np.dtype[Any]
    voxels: Callable[[], NDArray[Any]]
    header: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sides_known: bool = True
    segments: dict[str, str] = field(default_factory=dict)


def require_shape(shape: Sequence[int], path: Path) -> tuple[int, ...]:
    """Check that every axis has at least one voxel.

    Args:
        shape: As the header has it.
        path: For the message.

    Returns:
        The same, as integers.

    Raises:
        VolumeError: An axis of none, or fewer.
    """
    found = tuple(int(n) for n in shape)
    if not found or min(found) < 1:
        raise VolumeError(f"{path} must have at least one voxel along each axis, got the shape {found} in its header.")
    return found


def require_real(dtype: np.dtype[Any], path: Path) -> None:
    """Check that a voxel is one real number.

    Args:
        dtype: Of a voxel.
        path: For the message.

    Raises:
        VolumeError: Colour or complex.
    """
    if dtype.names:
        raise VolumeError(f"{path} must be a grey-scale image, got colour voxels ({len(dtype.names)} parts). Convert it to grey.")
    if dtype.kind == "c":
        raise VolumeError(
            f"{path} must have real voxels, got complex ones ({dtype.name}). "
            "Save the magnitude (numpy.abs) as an image of its own."
        )


def in_millimetres(affine: Affine, unit_mm: float) -> tuple[Affine, tuple[str, ...]]:
    """An affine that counts in another unit, in mm.

    Args:
        affine: As stored.
        unit_mm: Length of its unit in mm.

    Returns:
        The affine, and a sentence if anything changed.
    """
    if unit_mm == 1.0:
        return affine, ()
    scaled = affine.copy()
    scaled[:3] *= unit_mm
    spacing = _spacing_text(np.linalg.norm(scaled[:3, :3], axis=0))
    return scaled, (f"The header counts in {_UNIT_NAMES[unit_mm]}; it is read as voxels of {spacing} mm.",)


def require_plausible(shape: Sequence[int], affine: Affine, path: Path, *, unit: str = "mm") -> None:
    """Check that the size in the header can be that of a scan.

    Args:
        shape: Voxels along the axes, three or more.
        affine: Voxel index to mm.
        path: For the message.
        unit: The header's own word for its unit; empty if it names none.

    Raises:
        GridError: Not finite, absurdly large or small, or in a unit that nobody named.
    """
    if not np.isfinite(affine).all():
        raise GridError(f"{path} must say where its voxels lie, got numbers that are none (NaN, inf) in its header. Correct it.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if min(spacing) <= 0:
        return  # the grid's own message says what zero means
    text = _spacing_text(spacing)
    if (spacing * shape[:3]).max() > LONGEST_MM or spacing.max() < FINEST_MM:
        raise GridError(
            f"{path} must have the size of a scan, got {' x '.join(str(n) for n in shape[:3])} voxels of {text} mm "
            f"(the header's unit: {unit or 'not named'}). Correct the spacing or the unit in its header."
        )
    if not unit and not (spacing.max() >= UNKNOWN_UNITS_FINEST_MM and spacing.min() <= UNKNOWN_UNITS_COARSEST_MM):
        raise GridError(
            f"{path} must have plausible voxel sizes in mm, got {text} in a header that names no unit. "
            "Set the unit in the header (NIfTI: xyzt_units 1 for metres, 2 for mm, 3 for micrometres)."
        )


def _spacing_text(spacing: Sequence[float] | NDArray[Any]) -> str:
    return " x ".join(f"{float(mm):.6g}" for mm in spacing)
