"""A DICOM series as one volume, or the reason why it is none: several series, missing slices, gantry tilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from segsuite.errors import VolumeError
from segsuite.shapes import Affine, FloatArray

__all__ = ["affine_of_slices", "read_dicom_series", "read_slices"]

MAX_GAP_DEVIATION = 0.05
"""Slice distances may differ from their median by this share; a missing slice differs by 1."""
MAX_TILT_DEGREES = 0.5
"""Angle between the stacking direction and the slice normal; a tilted gantry is far above."""


def read_dicom_series(folder: Path, *, series_uid: str | None = None) -> tuple[NDArray[np.float32], Affine]:
    """The voxels and the affine of one series; see ``read_slices``."""
    voxels, affine, _ = read_slices(folder, series_uid=series_uid)
    return voxels, affine


def read_slices(folder: Path, *, series_uid: str | None = None) -> tuple[NDArray[np.float32], Affine, list[Path]]:
    """The voxels and the affine of one series, and which file holds which slice.

    Args:
        folder: Holds the slices directly.
        series_uid: Which series, if the folder holds several.

    Returns:
        Intensities (i, j, k) after rescale slope and intercept, the affine to RAS+ mm, and the files along k.

    Raises:
        VolumeError: No series, several without a choice, mixed orientation, missing or doubled slices, gantry tilt.
    """
    found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not found:
        raise VolumeError(f"{folder} must hold the slices of a DICOM series, got none. Point to the folder with them.")
    if series_uid is None and len(found) > 1:
        listed = ", ".join(found)
        raise VolumeError(f"{folder} must hold one series, got {len(found)}: {listed}. Choose one with --series-uid.")
    uid = series_uid or found[0]
    if uid not in found:
        raise VolumeError(f"{folder} must hold series {uid}, got: {', '.join(found)}.")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
    slices = [_read_slice(name) for name in files]
    positions = np.array([position for _, position, _, _ in slices])
    orientations = np.array([orientation for _, _, orientation, _ in slices])
    shapes = {pixels.shape for pixels, _, _, _ in slices}
    if len(shapes) > 1:
        raise VolumeError(f"{folder}: the slices of series {uid} must have one size, got {sorted(shapes)}.")
    order, affine = affine_of_slices(positions, orientations, slices[0][3], where=f"{folder}, series {uid}")
    return np.stack([slices[index][0] for index in order], axis=-1), affine, [Path(files[index]) for index in order]


def affine_of_slices(
    positions: FloatArray, orientations: FloatArray, pixel_spacing_mm: tuple[float, float], *, where: str
) -> tuple[list[int], Affine]:
    """The order of slices along their normal, and the affine to RAS+.

    Args:
        positions: ImagePositionPatient, (slices, 3), LPS mm.
        orientations: ImageOrientationPatient, (slices, 6).
        pixel_spacing_mm: Distance between columns, then between rows (along i, then j).
        where: Names the series in messages.

    Returns:
        Slice numbers in order, and the affine (4, 4) for arrays (column, row, slice).

    Raises:
        VolumeError: Mixed orientation, missing or doubled slices, or gantry tilt.

    Source: DICOM PS3.3 C.7.6.2.1.1.
    """
    if len(positions) < 2:
        raise VolumeError(f"{where} must have at least two slices, got {len(positions)}.")
    if np.abs(orientations - orientations[0]).max() > 1e-3:
        count = len(np.unique(np.round(orientations, 3), axis=0))
        raise VolumeError(f"{where} must have one orientation, got {count} (a localiser?). Split the series first.")
    along_i, along_j = orientations[0, :3], orientations[0, 3:]
    normal = np.cross(along_i, along_j)
    heights = positions @ normal
    order = [int(index) for index in np.argsort(heights)]
    gaps = np.diff(heights[order])
    step = float(np.median(gaps))
    if step <= 1e-4 or gaps.min() < step * 0.5:
        raise VolumeError(
            f"{where} must have one slice per position, got {int((gaps < 0.5 * max(step, 1e-4)).sum())} doubled of "
            f"{len(heights)} (several time points or echoes?). Split the series first."
        )
    if np.abs(gaps - step).max() > MAX_GAP_DEVIATION * step:
        at = int(np.abs(gaps - step).argmax())
        raise VolumeError(
            f"{where} must have evenly spaced slices, got a gap of {gaps[at]:.2f} mm after slice {at + 1} of "
            f"{len(heights)} where the others are {step:.2f} mm apart. Export the series again with all slices."
        )
    travel = positions[order[-1]] - positions[order[0]]
    tilt = np.degrees(np.arccos(np.clip(travel @ normal / np.linalg.norm(travel), -1, 1)))
    if tilt > MAX_TILT_DEGREES:
        raise VolumeError(
            f"{where} must be stacked along its slice normal, got a gantry tilt of {tilt:.1f} degrees. "
            "Correct the tilt by resampling before using this series."
        )
    affine = np.eye(4)
    affine[:3, 0] = along_i * pixel_spacing_mm[0]
    affine[:3, 1] = along_j * pixel_spacing_mm[1]
    affine[:3, 2] = travel / (len(order) - 1)
    affine[:3, 3] = positions[order[0]]
    return order, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _read_slice(name: str) -> tuple[NDArray[np.float32], list[float], list[float], tuple[float, float]]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    reader.LoadPrivateTagsOff()
    try:
        image: Any = reader.Execute()
        position = [float(value) for value in reader.GetMetaData("0020|0032").split("\\")]
        orientation = [float(value) for value in reader.GetMetaData("0020|0037").split("\\")]
    except RuntimeError as error:
        raise VolumeError(f"{name} must be a complete DICOM slice with position and orientation, got: {error}") from error
    pixels = sitk.GetArrayFromImage(image).astype(np.float32)
    return pixels.reshape(pixels.shape[-2:]).T, position, orientation, image.GetSpacing()[:2]
