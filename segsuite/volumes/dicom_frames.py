"""Where each picture of a DICOM file lies and what its numbers mean: single slices, and enhanced files with many frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_headers import numbers, text
from segsuite.volumes.dicom_pixels import require_grey

__all__ = ["Frame", "frames_of"]

DETECTOR_NOTE = (
    "no PixelSpacing: ImagerPixelSpacing, measured at the detector, is taken; structures may be smaller by magnification"
)


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        path: Its file.
        number: Within the file, from 0.
        position: Centre of the first pixel, LPS mm.
        orientation: Direction of a row, then of a column, LPS.
        spacing_mm: Between columns, then between rows: along i, then j.
        thickness_mm: Of the slice; ``None``: unknown.
        slope: Of stored numbers.
        intercept: Added after the slope.
        size: Rows and columns.
        note: What was assumed; may be empty.
        between_mm: What it says of the distance of slices; ``None``: nothing.
    """

    path: Path
    number: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    thickness_mm: float | None
    slope: float
    intercept: float
    size: tuple[int, int]
    note: str = ""
    between_mm: float | None = None

    @property
    def name(self) -> str:
        """For messages: the file, and the frame of a file with several."""
        return self.path.name if self.number == 0 else f"{self.path.name} frame {self.number + 1}"


def frames_of(data: Dataset, path: Path) -> list[Frame]:
    """The pictures of one file.

    Args:
        data: Of the file; pixels are not needed.
        path: The file, for messages.

    Returns:
        One frame, or many of an enhanced file, in its order.

    Raises:
        VolumeError: Colour; no position, orientation or pixel spacing; many frames without a position each.
    """
    n_frames, rows, columns = require_grey(data, path)
    if "MOSAIC" in text(data, "ImageType").upper().split("\\"):
        raise VolumeError(
            f"{path} must be one slice, got a mosaic of many slices in one picture. Convert the series to NIfTI first, for "
            "example with dcm2niix."
        )
    groups = _groups(data, path)
    if not groups and n_frames > 1:
        raise VolumeError(
            f"{path} must be one slice, or an enhanced file that says where each of its frames lies, got {n_frames} frames "
            "without (multi-frame DICOM). Convert it to single slices or to NIfTI first, for example with dcm2niix."
        )
    if groups and len(groups) != n_frames:
        raise VolumeError(f"{path} must say where each of its {n_frames} frames lies, got {len(groups)} places. Export it again.")
    return [_frame(_Places(data, group), path, number, (rows, columns)) for number, group in enumerate(groups or [None])]


def _groups(data: Dataset, path: Path) -> list[Dataset | None]:
    """What an enhanced file says of each frame."""
    try:
        return list(data.get("PerFrameFunctionalGroupsSequence") or ())
    except Exception as error:  # a broken sequence raises what it likes
        raise VolumeError(
            f"{path} must have readable functional groups, got: {type(error).__name__}. Export it again."
        ) from error


class _Places:
    """Looks an element up: in the frame's groups, in those that all frames share, at the top."""

    def __init__(self, data: Dataset, group: Dataset | None) -> None:
        shared = data.get("SharedFunctionalGroupsSequence") or () if group is not None else ()
        self.levels = [group, *shared] if group is not None else []
        self.top = data

    def holder(self, macro: str, keyword: str) -> Dataset:
        for level in self.levels:
            for item in (level.get(macro) if level is not None else None) or ():
                if keyword in item:
                    return item
        return self.top


def _frame(places: _Places, path: Path, number: int, size: tuple[int, int]) -> Frame:
    try:
        return _described_frame(places, path, number, size)
    except (AttributeError, TypeError, KeyError, NotImplementedError, RecursionError) as error:
        raise VolumeError(
            f"{path} must have readable functional groups, got: {type(error).__name__}. Export it again."
        ) from error


def _described_frame(places: _Places, path: Path, number: int, size: tuple[int, int]) -> Frame:
    def found(macro: str, keyword: str, count: int) -> tuple[float, ...] | None:
        return numbers(places.holder(macro, keyword), keyword, count, path)

    position = found("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = found("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if position is None or orientation is None:
        missing = "ImagePositionPatient" if position is None else "ImageOrientationPatient"
        raise VolumeError(
            f"{path} must be a DICOM slice with position and orientation, got no {missing}: where it lies is not known. "
            "Export the original series."
        )
    spacing, note = _spacing(found, path)
    thickness = found("PixelMeasuresSequence", "SliceThickness", 1)
    slope = found("PixelValueTransformationSequence", "RescaleSlope", 1) or (1.0,)
    intercept = found("PixelValueTransformationSequence", "RescaleIntercept", 1) or (0.0,)
    if slope[0] == 0:
        raise VolumeError(f"{path} must have a RescaleSlope other than zero, got 0. Export it again.")
    _require_upright(orientation, path)
    try:
        between = found("PixelMeasuresSequence", "SpacingBetweenSlices", 1)
    except VolumeError:
        between = None  # only a note hangs on it
    return Frame(
        path,
        number,
        position,
        orientation,
        spacing,
        thickness[0] if thickness else None,
        slope[0],
        intercept[0],
        size,
        note,
        between[0] if between else None,
    )


def _spacing(found: Callable[[str, str, int], tuple[float, ...] | None], path: Path) -> tuple[tuple[float, float], str]:
    spacing, note = found("PixelMeasuresSequence", "PixelSpacing", 2), ""
    if spacing is None:
        spacing, note = found("PixelMeasuresSequence", "ImagerPixelSpacing", 2), DETECTOR_NOTE
    if spacing is None:
        raise VolumeError(
            f"{path} must have a PixelSpacing, got none: the size of a voxel is not known (an anonymiser may have removed it). "
            "Export the original series."
        )
    if min(spacing) <= 0:
        raise VolumeError(f"{path} must have a PixelSpacing above zero, got {spacing[0]:g} x {spacing[1]:g} mm. Export it again.")
    return (spacing[1], spacing[0]), note


def _require_upright(orientation: Sequence[float], path: Path) -> None:
    along_i, along_j = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(along_i), np.linalg.norm(along_j)
    if max(abs(length - 1) for length in lengths) > 1e-2 or abs(float(along_i @ along_j)) > 1e-2:
        raise VolumeError(
            f"{path} must have an orientation of two directions of length 1 at a right angle, got "
            f"{[round(value, 4) for value in orientation]}. Export it again."
        )
