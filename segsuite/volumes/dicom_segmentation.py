"""Label maps as DICOM Segmentation objects and back, by highdicom, with coded names of structures. Needs the extra ``dicom``."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import segsuite
from segsuite.errors import OutputError, VolumeError
from segsuite.failures import first_line
from segsuite.files import write_atomically
from segsuite.shapes import LabelMap
from segsuite.volumes.dicom import read_series
from segsuite.volumes.dicom_headers import text
from segsuite.volumes.dicom_sources import sources_of
from segsuite.volumes.grid import Grid, back_to_grid
from segsuite.volumes.orders import reordered
from segsuite.volumes.volume import Volume

__all__ = ["code_of", "read_dicom_segmentation", "write_dicom_segmentation"]

KEYWORDS = {
    "peripheral_zone": "PeripheralZoneOfTheProstate",
    "transition_zone": "TransitionZoneOfTheProstate",
    "distal_prostatic_urethra": "ProstaticUrethra",
    "anterior_fibromuscular_stroma": "AnteriorFibromuscularStromaOfProstate",
    "seminal_vesicles": "SeminalVesicle",
    "right_kidney": "Kidney",
    "left_kidney": "Kidney",
}
"""Our names whose SNOMED CT keyword in DICOM's dictionary is another; of the rest, `liver` is looked up as `Liver`."""

MOST_SEGMENTS = 255
SAME = ("SOPClassUID", "SeriesDescription", "ReferencedSeriesSequence", "SegmentSequence", "PixelData")
"""Two segmentations that agree in these are the same one, written twice."""
OWN_SCHEME = "99SEGSUITE"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def code_of(name: str) -> Code:
    """What a structure is called in DICOM.

    Args:
        name: As in a label table.

    Returns:
        Its SNOMED CT code where DICOM's dictionary has one under this name, else a private code (scheme ``99SEGSUITE``).
    """
    keyword = KEYWORDS.get(name, "".join(word.capitalize() for word in name.split("_")))
    try:
        found: Code = getattr(codes.SCT, keyword)
    except AttributeError:
        return Code(hashlib.sha256(name.encode()).hexdigest()[:12], OWN_SCHEME, name[:64])
    return found


def write_dicom_segmentation(
    path: Path,
    mask: Volume,
    series: Path,
    structures: Mapping[int, str],
    *,
    made_by: str,
    series_uid: str | None = None,
) -> tuple[str, ...]:
    """Write a label map as a DICOM Segmentation that refers to the series that it was made from; read it back and compare.

    Args:
        path: ``.dcm``.
        mask: Label map on the series' grid.
        series: Folder with the slices, or one of its files.
        structures: Integer to name; integers without a name are an error, names without a voxel are left out.
        made_by: The model, for the object's algorithm.
        series_uid: Which series of the folder.

    Returns:
        What was made up because the series lacks it.

    Raises:
        VolumeError: Nothing is drawn, a label without a name, or a series that lacks what nobody can make up.
        GridError: The mask lies on another grid than the series.
        OutputError: The file cannot be written, does not read back equal, or another file is there.
    """
    stack = read_series(series, series_uid=series_uid)
    grid = Grid(stack.voxels.shape, stack.affine)
    mask = reordered(mask, grid, names=(str(series), str(mask.path)))
    present = [int(value) for value in np.unique(mask.labels) if value]
    if not present:
        raise VolumeError(f"{mask.path} must have at least one structure for a DICOM segmentation, got an empty mask.")
    unnamed = [value for value in present if value not in structures]
    if unnamed:
        raise VolumeError(f"{mask.path} must have labels of {dict(structures)}, got {unnamed} too. Give the right --labels.")
    if len(present) > MOST_SEGMENTS:
        raise VolumeError(
            f"{mask.path} must have at most {MOST_SEGMENTS} structures for a DICOM segmentation, got {len(present)}."
        )
    numbered = np.zeros(mask.labels.shape, dtype=np.uint8)
    for number, value in enumerate(present, start=1):
        numbered[mask.labels == value] = number
    described = [_described(number, structures[value], made_by) for number, value in enumerate(present, start=1)]
    files, order, notes = sources_of(stack)
    built = _built(files, numbered.transpose(2, 1, 0)[order], described, made_by)
    if os.path.lexists(path):
        _require_same(path, built)
        return (*notes, "was there before")
    write_atomically(path, partial(_save, built))
    again, names = read_dicom_segmentation(path)
    expected = {number: structures[value] for number, value in enumerate(present, start=1)}
    if names != expected or not np.array_equal(back_to_grid(again.labels, again.grid, grid), numbered):
        raise OutputError(f"{path} must read back as written, got {names} instead of {expected}, or other voxels.")
    return notes


def _require_same(path: Path, built: pydicom.Dataset) -> None:
    """A slice, or somebody else's segmentation, is never written over: what is there must say the same already."""
    try:
        there = pydicom.dcmread(path)
        is_same = all(there.get(keyword) == built.get(keyword) for keyword in SAME)
    except Exception:  # what is no DICOM raises what it likes
        is_same = False
    if not is_same:
        raise OutputError(f"{path} must not be there yet, got another file. Move it away, or choose another --out.")


def _built(
    files: Sequence[pydicom.Dataset],
    pixels: NDArray[np.uint8],
    described: Sequence[highdicom.seg.SegmentDescription],
    made_by: str,
) -> highdicom.seg.Segmentation:
    number = text(files[0], "SeriesNumber")
    with warnings.catch_warnings():
        # values are as the scanner, or an anonymiser, wrote them; highdicom and pydicom would like some of them otherwise
        warnings.simplefilter("ignore", UserWarning)
        try:
            return highdicom.seg.Segmentation(
                source_images=files,
                pixel_array=pixels,
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=described,
                series_instance_uid=highdicom.UID(),
                series_number=(int(number) if number.isdigit() else 0) % 1_000_000 + 1000,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="segsuite",
                manufacturer_model_name="segsuite",
                software_versions=segsuite.__version__,
                device_serial_number="0",
                series_description=f"segsuite {made_by}"[:64],
                omit_empty_frames=False,
            )
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError, RuntimeError) as error:
            reason = first_line(error)
            raise VolumeError(
                f"{files[0].filename} must say what a DICOM segmentation repeats of its series, got: {reason}. Use the original "
                "series, or keep the mask as NIfTI."
            ) from error


def read_dicom_segmentation(path: Path) -> tuple[Volume, dict[int, str]]:
    """A DICOM Segmentation as a label map on the grid of its frames.

    Args:
        path: ``.dcm``.

    Returns:
        The label map, and segment number to label.

    Raises:
        VolumeError: No DICOM segmentation, overlapping segments, or frames that fill no regular volume.
    """
    try:
        found = highdicom.seg.segread(path)
        volume = found.get_volume(combine_segments=True)
    except (ValueError, TypeError, RuntimeError, AttributeError, OSError, pydicom.errors.InvalidDicomError) as error:
        raise VolumeError(f"{path} must be a DICOM segmentation of one regular volume without overlap, got: {error}") from error
    names = {int(number): str(found.get_segment_description(number).SegmentLabel) for number in found.segment_numbers}
    labels: LabelMap = np.ascontiguousarray(volume.array)
    grid = Grid((labels.shape[0], labels.shape[1], labels.shape[2]), _LPS_TO_RAS @ np.asarray(volume.affine))
    return _as_stored(labels, grid, path), names


def _as_stored(labels: NDArray[Any], grid: Grid, path: Path) -> Volume:
    """(frames, rows, columns) to (columns, rows, frames), as a series is read."""
    return Volume(labels.transpose(2, 1, 0)[None], grid.reordered((2, 1, 0)), path)


def _described(number: int, name: str, made_by: str) -> highdicom.seg.SegmentDescription:
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=code_of(name),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=made_by[:64], version=segsuite.__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )


def _save(built: Any, path: Path) -> None:
    built.save_as(path)
