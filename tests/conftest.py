"""Small cohorts, a model trained for a few steps, and the real data where it is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from segsuite.data.manifest import Manifest
from segsuite.data.phantoms.cohort import PhantomCohort, write_phantom_cohort
from segsuite.engines.run_folder import RunFolder
from segsuite.pipeline import Runtime

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))  # as many as processes that tests start take

TINY = [
    "data.phantom.n_cases=6",
    "data.phantom.n_folds=3",
    "data.phantom.shape=[32,32,12]",
    "data.phantom.spacing_mm=[3.0,3.0,6.0]",
    "plan.base_channels=4",
    "plan.patch_size=[32,32,8]",
    "training.max_minutes=null",
    "training.steps_per_epoch=4",
    "training.max_steps=8",
    "training.epochs_per_validation=2",
    "training.validation_cases=1",
    "training.precision=float32",
    "inference.mirror=false",
]
"""Overrides that make the phantom config train in seconds."""


@pytest.fixture(scope="session")
def tiny_overrides() -> list[str]:
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A complete run folder of the demo, trained for eight steps."""
    from segsuite.verbs.runs import demo

    out = tmp_path_factory.mktemp("tiny") / "run"
    return demo("supervised", out, overrides=TINY, runtime=Runtime(device="cpu", workers=0))[0]


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantoms with folds and a manifest; do not change it, copy it."""
    folder = tmp_path_factory.mktemp("cohort")
    write_phantom_cohort(folder, PhantomCohort(n_cases=6, n_folds=3, shape=(24, 24, 10), spacing_mm=(4.0, 4.0, 6.0)))
    return folder


@pytest.fixture
def cohort(cohort_folder: Path) -> Manifest:
    from segsuite.data.manifest import read_manifest

    return read_manifest(cohort_folder / "manifest.json")


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    """Writes an array as NIfTI, with an affine of the given spacing or a whole affine."""

    def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None, spacing: float = 1.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        matrix = np.diag([spacing, spacing, spacing, 1.0]) if affine is None else affine
        nib.save(nib.Nifti1Image(array, matrix), path)
        return path

    return write


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder of four MR slices of 14 x 10 pixels."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra: pip install 'segsuite[dicom]'")
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    def write(name: str, *, n_slices: int = 4) -> Path:
        folder = tmp_path / "series" / name
        folder.mkdir(parents=True)
        study, series, frame = (generate_uid(entropy_srcs=[name, kind]) for kind in ("study", "series", "frame"))
        for number in range(n_slices):
            meta = pydicom.dataset.FileMetaDataset()
            meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
            meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name, str(number)])
            data = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
            data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
            data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
            data.PatientID, data.PatientName, data.Modality, data.SeriesNumber = name, "Doe^Jo", "MR", 3
            data.PatientBirthDate, data.PatientSex, data.StudyDate, data.StudyTime = "", "", "20260101", "120000"
            data.AccessionNumber, data.ReferringPhysicianName, data.StudyID, data.InstanceNumber = "", "", "", number + 1
            data.ImagePositionPatient, data.ImageOrientationPatient = [5.0, 7.0, 3.0 * number], [1, 0, 0, 0, 1, 0]
            data.PixelSpacing, data.SliceThickness, data.PositionReferenceIndicator = [0.6, 0.5], 3.0, ""
            data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 10, 14, 1, "MONOCHROME2"
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
            pixels = np.random.default_rng(number).integers(0, 999, (10, 14), dtype=np.uint16)
            data.PixelData = pixels.tobytes()
            data.save_as(folder / f"{n_slices - number}.dcm", enforce_file_format=True)
        return folder

    return write


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real cases; the test is skipped, saying so, where it is not."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ["SEGSUITE_DATA"]) if "SEGSUITE_DATA" in os.environ else beside
    if not folder.is_dir():
        pytest.skip(f"real cases are not here: set SEGSUITE_DATA to their folder (looked for {folder})")
    return folder
