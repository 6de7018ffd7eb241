"""Does this look like a T2w series of a prostate? Checked before the network runs, and again by what it finds."""

from __future__ import annotations

import numpy as np

from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

__all__ = ["doubts_about_gland", "doubts_about_image"]

IN_PLANE_MM = (0.2, 1.6)
SLICE_MM = (0.5, 6.0)
FIELD_MM = (80.0, 450.0)
HEIGHT_MM = (30.0, 260.0)
GLAND_ML = (8.0, 400.0)
STEEPEST_DEGREES = 45.0
THICK = 1.8
"""An axis whose voxels are this many times longer than the others is the slice axis."""
LEAST_UNITS = -100.0
"""Magnitude images have no values below; CT has."""
LARGEST_OFFSET_MM = 45.0


def doubts_about_image(volume: Volume) -> list[str]:
    """Why an image is not taken for an axial T2w series of a prostate.

    Args:
        volume: The image.

    Returns:
        One sentence per finding, with what was expected and what came; empty if it may be one.
    """
    grid = volume.grid
    spacing = np.round(grid.spacing_mm, 6)  # without the dust of the header, which differs with the order of the axes
    extent = spacing * np.asarray(grid.shape)
    along = _slice_axis(grid)
    within = sorted({0, 1, 2} - {along}, key=grid.body_axes.__getitem__)
    findings = []
    if grid.body_axes[along] != 2:
        plane = {0: "sagittal", 1: "coronal"}[grid.body_axes[along]]
        findings.append(f"the series must be axial, got a {plane} one")
    elif (tilt := _tilt_degrees(grid, along)) > STEEPEST_DEGREES:
        findings.append(f"slices must be within {STEEPEST_DEGREES:g} degrees of axial, got {tilt:.0f}")
    for what, values, (low, high) in (
        ("voxels within slices", spacing[within], IN_PLANE_MM),
        ("slice distance", spacing[[along]], SLICE_MM),
        ("field of view", extent[within], FIELD_MM),
        ("height of the stack", extent[[along]], HEIGHT_MM),
    ):
        if values.min() < low or values.max() > high:
            found = " x ".join(f"{value:.3g}" for value in values)
            findings.append(f"{what} must be {low:g} to {high:g} mm, got {found}")
    if volume.array.min() < LEAST_UNITS:
        findings.append(f"intensities must be those of MR magnitude images, got {float(volume.array.min()):g} (is it a CT?)")
    return findings


def doubts_about_gland(gland_ml: float, offset_mm: float) -> list[str]:
    """Why what was found is not taken for a prostate.

    Args:
        gland_ml: Volume of all zones.
        offset_mm: Distance of the gland's centre from the axis through the middle of the field.

    Returns:
        One sentence per finding.
    """
    if not GLAND_ML[0] <= gland_ml <= GLAND_ML[1]:
        return [f"a gland of {GLAND_ML[0]:g} to {GLAND_ML[1]:g} ml must be found, got {gland_ml:.1f} ml"]
    if offset_mm > LARGEST_OFFSET_MM:
        return [f"the gland must lie within {LARGEST_OFFSET_MM:g} mm of the field's middle, got {offset_mm:.0f} mm"]
    return []


def _slice_axis(grid: Grid) -> int:
    """The axis of thick voxels; of a nearly isotropic volume the one that runs from foot to head."""
    spacing = np.asarray(grid.spacing_mm)
    longest = int(spacing.argmax())
    others = np.delete(spacing, longest)
    return longest if spacing[longest] > THICK * others.max() else grid.body_axes.index(2)


def _tilt_degrees(grid: Grid, along: int) -> float:
    """Angle between the slice axis and foot to head."""
    direction = grid.affine[:3, along] / np.linalg.norm(grid.affine[:3, along])
    return float(np.degrees(np.arccos(min(1.0, abs(direction[2])))))
