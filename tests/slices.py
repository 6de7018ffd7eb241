"""DICOM files for tests: plain slices, enhanced files, and folders of them, each with what a test wants to be odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

ENHANCED_MR = UID("1.2.840.10008.5.1.4.1.1.4.1")
COLUMNS, ROWS = 14, 10
STEP_MM = 3.0
SPACING_MM = (0.6, 0.5)
"""Between rows, between columns, as DICOM has it."""


def uid(*words: object) -> UID:
    return generate_uid(entropy_srcs=[str(word) for word in words])


def pixels_of(number: int, *, dtype: str = "u2") -> np.ndarray:
    """(rows, columns), different in every slice."""
    return np.random.default_rng(number).integers(0, 250, (ROWS, COLUMNS)).astype(dtype)


def slice_data(number: int = 0, *, series: str = "s", **odd: Any) -> FileDataset:
    """A slice of 14 x 10 pixels; what is given replaces an element, ``None`` removes it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = uid(series, number)
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = uid("study"), uid(series), uid("frame")
    data.PatientID, data.PatientName, data.Modality, data.SeriesNumber = "P77", "Doe^Jo", "MR", 3
    data.PatientBirthDate, data.PatientSex, data.StudyDate, data.StudyTime = "", "", "20260101", "120000"
    data.AccessionNumber, data.ReferringPhysicianName, data.StudyID, data.InstanceNumber = "", "", "", number + 1
    data.ImagePositionPatient, data.ImageOrientationPatient = [5.0, 7.0, STEP_MM * number], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = list(SPACING_MM), STEP_MM
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = pixels_of(number).tobytes()
    for keyword, value in odd.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    if odd.get("SOPClassUID"):
        meta.MediaStorageSOPClassUID = UID(odd["SOPClassUID"])
    return data


def save(data: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def save_series(folder: Path, *, n_slices: int = 4, name: str = "IM{:04d}", series: str = "s", **odd: Any) -> Path:
    """A folder of slices; file names run against the order of positions."""
    for number in range(n_slices):
        save(slice_data(number, series=series, **odd), folder / name.format(n_slices - number))
    return folder


def item(**values: Any) -> Dataset:
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found


def one(**values: Any) -> Sequence:
    return Sequence([item(**values)])


def enhanced_data(n_frames: int = 4, *, slopes: list[float] | None = None, series: str = "enhanced") -> FileDataset:
    """All slices in one file, the first one on top; orientation and spacing are shared."""
    data = slice_data(0, series=series, SOPClassUID=ENHANCED_MR)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(data, keyword)
    data.NumberOfFrames = n_frames
    data.PixelData = np.stack([pixels_of(number) for number in range(n_frames)]).tobytes()
    measures = one(PixelSpacing=list(SPACING_MM), SliceThickness=STEP_MM)
    plane = one(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    data.SharedFunctionalGroupsSequence = one(PixelMeasuresSequence=measures, PlaneOrientationSequence=plane)
    frames = []
    for number in range(n_frames):
        frame = item(PlanePositionSequence=one(ImagePositionPatient=[5.0, 7.0, STEP_MM * (n_frames - 1 - number)]))
        if slopes is not None:
            values = one(RescaleSlope=slopes[number], RescaleIntercept=-number, RescaleType="US")
            frame.PixelValueTransformationSequence = values
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return data


def expected_volume(n_slices: int = 4) -> np.ndarray:
    """(columns, rows, slices) of ``save_series``."""
    return np.stack([pixels_of(number).T for number in range(n_slices)], axis=-1).astype(np.float32)


def save_volume(image: Any, folder: Path) -> Path:
    """A NIfTI image with axes along the patient's as a series of slices."""
    values = np.clip(np.rint(image.get_fdata()), 0, 60000).astype("u2")
    steps, origin = np.diag(image.affine)[:3], image.affine[:3, 3]
    lps = np.array([-1.0, -1.0, 1.0])
    for k in range(values.shape[2]):
        data = slice_data(k, series=str(folder))
        data.Rows, data.Columns = values.shape[1], values.shape[0]
        data.PixelSpacing = [float(abs(steps[1])), float(abs(steps[0]))]
        data.ImagePositionPatient = [float(value) for value in lps * (origin + np.array([0, 0, steps[2] * k]))]
        data.ImageOrientationPatient = [float(lps[0] * np.sign(steps[0])), 0, 0, 0, float(lps[1] * np.sign(steps[1])), 0]
        data.PixelData = np.ascontiguousarray(values[:, :, k].T).tobytes()
        save(data, folder / f"IM{k:04d}")
    return folder
