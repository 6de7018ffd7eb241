"""Segmentations of a made-up series: written, read back, codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import GridError, VolumeError
from segsuite.volumes.grid import Grid, back_to_grid
from segsuite.volumes.orders import Order
from segsuite.volumes.reading import read_volume
from segsuite.volumes.volume import Volume

pydicom = pytest.importorskip("pydicom", reason="needs the extra: pip install 'segsuite[dicom]'")

NAMES = {1: "peripheral_zone", 4: "levator_ani", 5: "liver"}


@pytest.fixture
def series(write_series: Callable[..., Path]) -> Path:
    return write_series("patient")


@pytest.fixture
def mask(series: Path) -> Volume:
    image = read_volume(series)
    labels = np.zeros(image.grid.shape, dtype=np.uint8)
    labels[2:5, 3:6, 0:2] = 1
    labels[8:12, 1:3, 3] = 4
    return Volume(labels[None], image.grid, Path("mask.nii.gz"))


def test_what_is_written_reads_back_on_the_same_voxels(series: Path, mask: Volume, tmp_path: Path) -> None:
    from segsuite.volumes.dicom_segmentation import read_dicom_segmentation, write_dicom_segmentation

    write_dicom_segmentation(tmp_path / "seg.dcm", mask, series, NAMES, made_by="a model")
    again, names = read_dicom_segmentation(tmp_path / "seg.dcm")
    assert names == {1: "peripheral_zone", 2: "levator_ani"}
    labels = back_to_grid(again.labels, again.grid, mask.grid)
    assert np.array_equal(labels == 1, mask.labels == 1)
    assert np.array_equal(labels == 2, mask.labels == 4)


def test_a_mask_whose_file_stores_the_axes_in_another_order_is_reordered(series: Path, mask: Volume, tmp_path: Path) -> None:
    from segsuite.volumes.dicom_segmentation import read_dicom_segmentation, write_dicom_segmentation

    order = Order((2, 0, 1), (True, False, True))
    turned = Volume(order.applied(mask.array), order.applied_grid(mask.grid), mask.path)
    write_dicom_segmentation(tmp_path / "seg.dcm", turned, series, NAMES, made_by="a model")
    again, _ = read_dicom_segmentation(tmp_path / "seg.dcm")
    assert np.array_equal(back_to_grid(again.labels, again.grid, mask.grid) == 2, mask.labels == 4)


def test_the_object_names_patient_series_model_and_codes(series: Path, mask: Volume, tmp_path: Path) -> None:
    from segsuite.volumes.dicom_segmentation import write_dicom_segmentation

    write_dicom_segmentation(tmp_path / "seg.dcm", mask, series, NAMES, made_by="a model")
    found, source = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(next(series.iterdir()))
    assert found.Modality == "SEG"
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[keyword].value == source[keyword].value
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    first, second = found.SegmentSequence
    assert first.SegmentAlgorithmName == "a model"
    coded = [
        (s.SegmentedPropertyTypeCodeSequence[0].CodeValue, s.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator)
        for s in (first, second)
    ]
    assert coded[0] == ("279706003", "SCT")  # peripheral zone of prostate
    assert coded[1][1] == "99SEGSUITE"


def test_names_have_codes() -> None:
    from segsuite.volumes.dicom_segmentation import code_of

    assert [code_of(name).scheme_designator for name in ("liver", "spleen", "left_kidney", "hippocampus", "transition_zone")] == [
        "SCT"
    ] * 5
    own = code_of("a structure of ours")
    assert (own.scheme_designator, own.meaning) == ("99SEGSUITE", "a structure of ours")
    assert len(own.value) <= 16, "DICOM's short strings end there"


def test_wrong_masks_are_refused_and_leave_nothing(series: Path, mask: Volume, tmp_path: Path) -> None:
    from segsuite.volumes.dicom_segmentation import read_dicom_segmentation, write_dicom_segmentation

    empty = Volume(np.zeros_like(mask.array), mask.grid, Path("mask.nii.gz"))
    moved = Volume(mask.array, Grid(mask.grid.shape, mask.grid.affine + np.diag([1.0, 0, 0, 0])), mask.path)
    for wrong, names, kind, words in (
        (empty, NAMES, VolumeError, "at least one structure"),
        (mask, {1: "peripheral_zone"}, VolumeError, r"got \[4\] too"),
        (moved, NAMES, GridError, "mask.nii.gz"),
    ):
        with pytest.raises(kind, match=words):
            write_dicom_segmentation(tmp_path / "seg.dcm", wrong, series, names, made_by="m")
    assert not (tmp_path / "seg.dcm").exists()
    with pytest.raises(VolumeError, match="must be a DICOM segmentation"):
        read_dicom_segmentation(next(series.iterdir()))


@pytest.mark.data
def test_a_real_series(real_data: Path, tmp_path: Path) -> None:
    from segsuite.volumes.dicom_segmentation import write_dicom_segmentation

    series = real_data / "prostate_t2" / "ProstateX-0218" / "t2w_dicom"
    image = read_volume(series)
    labels = np.zeros(image.grid.shape, dtype=np.uint8)
    labels[100:150, 120:160, 5:9] = 1
    write_dicom_segmentation(tmp_path / "seg.dcm", Volume(labels[None], image.grid), series, NAMES, made_by="m")
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientID == "ProstateX-0218"
