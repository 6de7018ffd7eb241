"""A DICOM series as one volume, or the reason why it is none: several series, missing slices, gantry tilt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from segsuite.errors import VolumeError
from segsuite.shapes import Affine, FloatArray
from segsuite.volumes.dicom_frames import Frame, frames_of
from segsuite.volumes.dicom_headers import read_dataset
from segsuite.volumes.dicom_pixels import stored_pixels
from segsuite.volumes.dicom_series import Series, series_at

__all__ = ["Stack", "affine_of_slices", "grid_of_series", "read_series"]

MAX_GAP_DEVIATION = 0.05
"""Slice distances may differ from their median by this share; a missing slice differs by 1."""
SPACING_DEVIATION = 1e-3
"""The pixel spacings of two slices may differ by this share: they are written with few digits."""
MAX_TILT_DEGREES = 0.5
"""Angle between the stacking direction and the slice normal; a tilted gantry is far above."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A series as one volume.

    Attributes:
        voxels: Intensities (i, j, k) after slope and intercept of each slice.
        affine: To RAS+ mm.
        frames: The pictures along k.
        notes: What was assumed.
    """

    voxels: NDArray[np.float32]
    affine: Affine
    frames: list[Frame]
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The files along k; an enhanced file is there once."""
        return list(dict.fromkeys(frame.path for frame in self.frames))


def read_series(path: Path, *, series_uid: str | None = None) -> Stack:
    """One series as a volume.

    Args:
        path: A folder with the slices, or a file of the series.
        series_uid: Which series, if the folder holds several.

    Returns:
        Voxels and where they lie.

    Raises:
        VolumeError: No series, several without a choice, a slice that cannot be read or has no spacing, colour, slices of
            different size or spacing, mixed orientation, missing or doubled slices, gantry tilt.
    """
    series = series_at(path, series_uid=series_uid)
    frames: list[Frame] = []
    stored: list[NDArray[Any]] = []
    for file in series.files:
        own, pixels = _read_file(file)
        frames += own
        stored += list(pixels)
    order, affine, notes = _ordered(frames, _where(path, series))
    voxels = np.empty((*reversed(frames[0].size), len(order)), dtype=np.float32)
    for k, index in enumerate(order):
        voxels[..., k] = _rescaled(stored[index], frames[index]).T
    return Stack(voxels, affine, [frames[index] for index in order], notes)


def grid_of_series(path: Path) -> tuple[tuple[int, int, int], Affine]:
    """Shape and affine of a series, from its headers.

    Args:
        path: As in ``read_series``.

    Returns:
        (i, j, k), and the affine to RAS+ mm.

    Raises:
        VolumeError: As ``read_series``, but for the pixels.
    """
    series = series_at(path)
    frames = [frame for file in series.files for frame in _read_places(file)]
    order, affine, _ = _ordered(frames, _where(path, series))
    rows, columns = frames[0].size
    return (columns, rows, len(order)), affine


def _read_file(file: Path) -> tuple[list[Frame], NDArray[Any]]:
    """The frames of a file, and their stored numbers."""
    try:
        data = read_dataset(file, pixels=True)
        return frames_of(data, file), _looked_up(stored_pixels(data, file), data, file)
    except (VolumeError, MemoryError):
        raise
    except Exception as error:  # a broken element raises what it likes, wherever it is looked at first
        raise VolumeError(
            f"{file} must be a readable DICOM slice, got: {type(error).__name__}. Export or copy it again."
        ) from error


def _read_places(file: Path) -> list[Frame]:
    try:
        return frames_of(read_dataset(file, pixels=False), file)
    except (VolumeError, MemoryError):
        raise
    except Exception as error:
        raise VolumeError(f"{file} must have a readable header, got: {type(error).__name__}. Export it again.") from error


def _where(path: Path, series: Series) -> str:
    return f"{path}, series {series.uid or 'without SeriesInstanceUID'}"


def _looked_up(pixels: NDArray[Any], data: Dataset, file: Path) -> NDArray[Any]:
    """Stored numbers, or what a table makes of them where the file has one in place of slope and intercept."""
    if "ModalityLUTSequence" not in data or "RescaleSlope" in data:
        return pixels
    try:
        return np.asarray(apply_modality_lut(pixels, data))
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError) as error:
        raise VolumeError(f"{file} must have a readable ModalityLUTSequence, got: {error}. Export it again.") from error


def _rescaled(picture: NDArray[Any], frame: Frame) -> NDArray[np.float32]:
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        return picture.astype(np.float32)
    return (picture * np.float64(frame.slope) + frame.intercept).astype(np.float32)


def _ordered(frames: Sequence[Frame], where: str) -> tuple[list[int], Affine, tuple[str, ...]]:
    """The order of the pictures, the affine, and what was assumed."""
    sizes = Counter(frame.size for frame in frames)
    if len(sizes) > 1:
        odd = next(frame for frame in frames if frame.size == sizes.most_common()[-1][0])
        named = ", ".join(f"{columns} x {rows} ({count})" for (rows, columns), count in sizes.most_common())
        raise VolumeError(f"{where}: the slices must have one size, got {named}, for example {odd.name}. Split the series first.")
    spacings = np.array([frame.spacing_mm for frame in frames])
    middle = np.median(spacings, axis=0)
    if (off := np.abs(spacings / middle - 1).max(axis=1)).max() > SPACING_DEVIATION:
        odd, odd_mm = frames[int(off.argmax())], spacings[int(off.argmax())]
        raise VolumeError(
            f"{where}: the slices must have one PixelSpacing, got {odd_mm[1]:g} x {odd_mm[0]:g} mm in {odd.name} where others "
            f"have {middle[1]:g} x {middle[0]:g} mm. Export the series again."
        )
    notes = tuple(dict.fromkeys(frame.note for frame in frames if frame.note))
    first = frames[0]
    if len(frames) == 1:
        if not first.thickness_mm or first.thickness_mm <= 0:
            raise VolumeError(
                f"{where} must have two slices or more, or one with a SliceThickness, got one without: its size is not known."
            )
        notes += (f"one slice: its thickness, {first.thickness_mm:g} mm, is taken as the distance of slices",)
    order, affine = affine_of_slices(
        np.array([frame.position for frame in frames]),
        np.array([frame.orientation for frame in frames]),
        first.spacing_mm,
        where=where,
        names=[frame.name for frame in frames],
        thickness_mm=first.thickness_mm,
    )
    step = float(np.linalg.norm(affine[:3, 2]))
    if len(frames) > 1 and first.between_mm and abs(abs(first.between_mm) / step - 1) > MAX_GAP_DEVIATION:
        notes += (f"slices lie {step:g} mm apart, SpacingBetweenSlices says {first.between_mm:g} mm: are some missing?",)
    return order, affine, notes


def affine_of_slices(
    positions: FloatArray,
    orientations: FloatArray,
    pixel_spacing_mm: tuple[float, float],
    *,
    where: str,
    names: Sequence[str] = (),
    thickness_mm: float | None = None,
) -> tuple[list[int], Affine]:
    """The order of slices along their normal, and the affine to RAS+.

    Args:
        positions: ImagePositionPatient, (slices, 3), LPS mm.
        orientations: ImageOrientationPatient, (slices, 6).
        pixel_spacing_mm: Distance between columns, then between rows (along i, then j).
        where: Names the series in messages.
        names: Of the slices, for messages.
        thickness_mm: Of a single slice, which has no distance to another.

    Returns:
        Slice numbers in order, and the affine (4, 4) for arrays (column, row, slice).

    Raises:
        VolumeError: Mixed orientation, missing or doubled slices, or gantry tilt.

    Source: DICOM PS3.3 C.7.6.2.1.1.
    """
    if len(positions) < 2 and not thickness_mm:
        raise VolumeError(f"{where} must have at least two slices, got {len(positions)}.")
    if np.abs(orientations - orientations[0]).max() > 1e-3:
        count = len(np.unique(np.round(orientations, 3), axis=0))
        raise VolumeError(f"{where} must have one orientation, got {count} (a localiser?). Split the series first.")
    rows, columns = (axis / np.linalg.norm(axis) for axis in (orientations[0, :3], orientations[0, 3:]))
    normal = np.cross(rows, columns)
    heights = positions @ normal
    if len(positions) == 1 and thickness_mm:
        return [0], _affine((rows, columns), pixel_spacing_mm, normal * thickness_mm, positions[0])
    named = list(names) or [f"slice {number + 1}" for number in range(len(heights))]
    order = [int(index) for index in np.argsort(heights)]
    gaps = np.diff(heights[order])
    step = float(np.median(gaps))
    if step <= 1e-4 or gaps.min() < step * 0.5:
        raise VolumeError(
            f"{where} must have one slice per position, got {int((gaps < 0.5 * max(step, 1e-4)).sum())} doubled of "
            f"{len(heights)} (several time points or echoes?), for example {_pair(gaps.argmin(), order, named)}. "
            "Split the series first."
        )
    if np.abs(gaps - step).max() > MAX_GAP_DEVIATION * step:
        at = int(np.abs(gaps - step).argmax())
        raise VolumeError(
            f"{where} must have evenly spaced slices, got a gap of {gaps[at]:.2f} mm after slice {at + 1} of "
            f"{len(heights)}, between {_pair(at, order, named)}, where the others are {step:.2f} mm apart. "
            "Export the series again with all slices."
        )
    travel = positions[order[-1]] - positions[order[0]]
    tilt = np.degrees(np.arccos(np.clip(travel @ normal / np.linalg.norm(travel), -1, 1)))
    if tilt > MAX_TILT_DEGREES:
        raise VolumeError(
            f"{where} must be stacked along its slice normal, got a gantry tilt of {tilt:.1f} degrees. "
            "Correct the tilt by resampling before using this series."
        )
    return order, _affine((rows, columns), pixel_spacing_mm, travel / (len(order) - 1), positions[order[0]])


def _affine(
    axes: tuple[FloatArray, FloatArray], pixel_spacing_mm: tuple[float, float], step: FloatArray, origin: FloatArray
) -> Affine:
    """Voxel to RAS+ mm, of directions and places in LPS."""
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * pixel_spacing_mm[0]
    affine[:3, 1] = axes[1] * pixel_spacing_mm[1]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _pair(at: int | np.integer[Any], order: Sequence[int], names: Sequence[str]) -> str:
    return f"{names[order[int(at)]]} and {names[order[int(at) + 1]]}"
