"""The slices that a DICOM segmentation refers to, completed with what an anonymiser took away and the standard asks for."""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from segsuite.errors import VolumeError
from segsuite.volumes.dicom import Stack
from segsuite.volumes.dicom_headers import read_dataset, text

__all__ = ["sources_of"]

MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
CLASSES = {
    "MR": pydicom.uid.MRImageStorage,
    "CT": pydicom.uid.CTImageStorage,
    "PT": pydicom.uid.PositronEmissionTomographyImageStorage,
}


def sources_of(stack: Stack) -> tuple[list[FileDataset], list[int], tuple[str, ...]]:
    """What a segmentation of a series is built from.

    Args:
        stack: The series as a volume.

    Returns:
        The files without their pixels: the slices along k, or one enhanced file; for each of its pictures, in its order, the
        slice k; and what was made up because the series lacks it.

    Raises:
        VolumeError: Several enhanced files, or files without an identifier to refer to.
    """
    files = [read_dataset(path, pixels=False) for path in stack.files]
    if len(files) > 1 and len(stack.frames) > len(files):
        raise VolumeError(
            f"{stack.files[0].parent} must be single slices or one enhanced file for a DICOM segmentation, got {len(files)} "
            "enhanced files. Keep the mask as NIfTI, or convert the series to single slices."
        )
    made_up: dict[str, None] = {}
    series = text(files[0], "SeriesInstanceUID") or text(files[0], "SOPInstanceUID")
    for data, path in zip(files, stack.files, strict=True):
        if not text(data, "SOPInstanceUID"):
            raise VolumeError(
                f"{path} must have a SOPInstanceUID, got none: a DICOM segmentation refers to its slices by it. Use the original "
                "series."
            )
        made_up |= dict.fromkeys(_completed(data, series, step_mm=float(np.linalg.norm(stack.affine[:3, 2]))))
    notes = (f"made up, because the series has none: {', '.join(made_up)}",) if made_up else ()
    order = [0] * len(stack.frames)
    for k, frame in enumerate(stack.frames):
        order[frame.number if len(files) == 1 else k] = k
    return files, order, notes


def _completed(data: FileDataset, series: str, *, step_mm: float) -> list[str]:
    """Fill in what is missing; the same series gets the same identifiers every time."""
    for keyword in MAY_BE_EMPTY:
        if keyword not in data:
            setattr(data, keyword, "")
    missing = [keyword for keyword in IDENTIFIERS if not text(data, keyword)]
    for keyword in missing:
        setattr(data, keyword, generate_uid(entropy_srcs=[series, keyword]))
    if not text(data, "SliceThickness") and "PerFrameFunctionalGroupsSequence" not in data:
        data.SliceThickness = round(step_mm, 6)
        missing.append("SliceThickness")
    if not text(data, "Modality"):
        data.Modality = "OT"
        missing.append("Modality")
    if not text(data, "SOPClassUID"):
        data.SOPClassUID = CLASSES.get(data.Modality, pydicom.uid.SecondaryCaptureImageStorage)
        missing.append("SOPClassUID")
    if getattr(data, "file_meta", None) is None:
        data.file_meta = FileMetaDataset()
    if not text(data.file_meta, "TransferSyntaxUID"):
        data.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    return missing
