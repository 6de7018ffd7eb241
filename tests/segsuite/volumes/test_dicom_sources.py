"""Series that an anonymiser went over still get a DICOM segmentation, or a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.dicom import read_series
from segsuite.volumes.dicom_sources import sources_of
from segsuite.volumes.reading import read_volume
from segsuite.volumes.volume import Volume
from tests.slices import enhanced_data, save, save_series

TAKEN_AWAY = [
    ["FrameOfReferenceUID"], ["SOPClassUID"], ["StudyID"], ["PatientID"], ["StudyInstanceUID"], ["SeriesInstanceUID"],
    ["Modality"], ["PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime", "ReferringPhysicianName"],
    ["PatientName"], ["SeriesNumber", "InstanceNumber"], ["SliceThickness"],
]  # fmt: skip


def written(series: Path, tmp_path: Path) -> tuple[Volume, tuple[str, ...]]:
    pytest.importorskip("highdicom", reason="needs the extra dicom")
    from segsuite.volumes.dicom_segmentation import write_dicom_segmentation

    image = read_volume(series)
    labels = np.zeros(image.grid.shape, dtype=np.uint8)
    labels[2:5, 3:6, 0], labels[7:9, 1, 2] = 1, 4
    mask = Volume(labels[None], image.grid, Path("mask.nii.gz"))
    names = {1: "liver", 4: "spleen"}
    return mask, write_dicom_segmentation(tmp_path / "seg.dcm", mask, series, names, made_by="m")  # reads back and compares


@pytest.mark.parametrize("taken", TAKEN_AWAY, ids=lambda taken: taken[0])
def test_what_an_anonymiser_took_is_made_up_and_said(tmp_path: Path, taken: list[str]) -> None:
    series = save_series(tmp_path / "s", **dict.fromkeys(taken))
    _, notes = written(series, tmp_path)
    named = [word for word in taken if word.endswith("UID") or word in ("Modality", "SliceThickness")]
    assert notes == ((f"made up, because the series has none: {', '.join(named)}",) if named else ())


def test_the_same_series_gets_the_same_identifiers(tmp_path: Path) -> None:
    series = save_series(tmp_path / "s", FrameOfReferenceUID=None)
    found = [written(series, tmp_path) and pydicom.dcmread(tmp_path / "seg.dcm").FrameOfReferenceUID for _ in range(2)]
    assert found[0] == found[1]


def test_an_enhanced_file_gets_one_too(tmp_path: Path) -> None:
    path = save(enhanced_data(4), tmp_path / "s/E")
    files, order, notes = sources_of(read_series(path))
    assert (len(files), order, notes) == (1, [3, 2, 1, 0], ())
    mask, _ = written(path, tmp_path)
    assert mask.labels.any()


def test_what_nobody_can_make_up_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="must have a SOPInstanceUID, got none"):
        sources_of(read_series(save_series(tmp_path / "s", SOPInstanceUID=None)))
    for number in range(2):
        data = enhanced_data(2)
        data.SOPInstanceUID = f"1.2.{number}"
        for frame in data.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient[2] += 6 * number
        save(data, tmp_path / f"two/{number}")
    with pytest.raises(VolumeError, match="one enhanced file for a DICOM segmentation, got 2"):
        sources_of(read_series(tmp_path / "two"))
